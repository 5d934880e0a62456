// Counts heap allocations of the whole program, for tests of what must not allocate. Calling it
// links a replacement of operator new, except under sanitizers, which bring their own.
#pragma once

#include <cstdint>

namespace tutti::testing {

// False under a sanitizer: allocation_count() stays 0, and tests that need it are skipped.
bool counts_allocations();
// Calls of operator new so far, by all threads.
int64_t allocation_count();

}  // namespace tutti::testing
