// Counts heap allocations of the whole program. Calling it links a replacement of operator new.
#pragma once

#include <cstdint>

namespace tutti::testing {

// Calls of operator new so far, by all threads.
int64_t allocation_count();

}  // namespace tutti::testing
