#include "engine/stage_engine.h"

namespace tutti {

Status StageEngine::extend(StageSegment) {
  return unimplemented("This stage does not take further segments of a request.");
}

std::optional<Result<std::string>> StageEngine::control(const std::string&, const std::string&) {
  return std::nullopt;
}

}  // namespace tutti
