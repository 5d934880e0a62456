#include "serve/model_info.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/strings.h"
#include "serve/api_error.h"

namespace tutti::serve {

ModelInfo::ModelInfo(AsyncOmniEngine& engine, std::vector<std::string> served_names)
    : engine_(engine), names_(std::move(served_names)), created_(std::time(nullptr)) {
  for (int32_t s = 0; s < engine_.num_stages(); ++s) {
    const StageRuntimeInfo& stage = engine_.stage_metadata()[s];
    if (stage.final_output_type == "text") text_stage_ = s;
    if (stage.final_output_type == "audio") audio_stage_ = s;
  }
}

Status ModelInfo::check_model(std::string_view model) const {
  if (std::find(names_.begin(), names_.end(), model) != names_.end()) return {};
  return not_found(fmt::format("The model '{}' is not served here; there is: {}.", printable(model),
                               join(names_)))
      .with_param("model");
}

}  // namespace tutti::serve
