#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

#include <cstdlib>
#include <mutex>

namespace tutti {

void init_logging() {
  static std::once_flag once;
  std::call_once(once, [] {
    spdlog::set_default_logger(spdlog::stderr_color_mt("tutti"));
    spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ [%t] %v");
    const char* level = std::getenv("TUTTI_LOG");
    spdlog::set_level(level ? spdlog::level::from_str(level) : spdlog::level::warn);
  });
}

}  // namespace tutti
