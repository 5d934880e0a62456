#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>

#include "models/allocation_count_test_util.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TUTTI_HAS_SANITIZER 1
#endif
#endif

namespace tutti::testing {
namespace {
std::atomic<uint64_t> g_allocations{0};
}
uint64_t allocation_count() { return g_allocations.load(); }

#ifdef TUTTI_HAS_SANITIZER
bool counts_allocations() { return false; }
}  // namespace tutti::testing
#else
bool counts_allocations() { return true; }
}  // namespace tutti::testing

// The whole program's allocations go through these.
void* operator new(size_t bytes) {
  tutti::testing::g_allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(bytes > 0 ? bytes : 1)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
#endif

namespace tutti::testing {
TEST(AllocationCount, SeesAllocations) {
  if (!counts_allocations()) GTEST_SKIP() << "a sanitizer owns the allocator";
  const uint64_t before = allocation_count();
  auto p = std::make_unique<std::vector<int>>(100);
  EXPECT_GE(allocation_count() - before, 2u);
}
}  // namespace tutti::testing
