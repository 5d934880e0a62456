// Logging through spdlog, to stderr. Level from TUTTI_LOG (trace, debug, info, warn, error, off);
// default warn, so that a command's output is its own.
#pragma once

#include <spdlog/spdlog.h>

namespace tutti {
// Sets pattern and level once; safe to call again.
void init_logging();
}  // namespace tutti
