// Seeds of requests that brought none.
#pragma once

#include <cstdint>

namespace tutti {

// From the system's entropy; every call differs.
uint64_t draw_seed();

}  // namespace tutti
