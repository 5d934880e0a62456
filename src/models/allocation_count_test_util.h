// Counts calls of operator new in this program. For tests.
#pragma once

#include <cstdint>

namespace tutti::testing {
// Allocations so far, by all threads. Always 0 under sanitizers, which bring their own allocator.
uint64_t allocation_count();
bool counts_allocations();
}  // namespace tutti::testing
