// A decode step in steady state allocates nothing: schedule, forward pass, sampling.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "engine/ar/engine_harness.h"

namespace {
std::atomic<int64_t> g_allocations{0};

void* counted(size_t bytes, size_t alignment) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  bytes = (bytes + alignment - 1) / alignment * alignment;
  void* memory = alignment <= alignof(std::max_align_t) ? std::malloc(bytes)
                                                        : std::aligned_alloc(alignment, bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
}  // namespace

void* operator new(size_t bytes) { return counted(bytes, 1); }
void* operator new[](size_t bytes) { return counted(bytes, 1); }
void* operator new(size_t bytes, std::align_val_t a) {
  return counted(bytes, static_cast<size_t>(a));
}
void* operator new[](size_t bytes, std::align_val_t a) {
  return counted(bytes, static_cast<size_t>(a));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace tutti::ar {
namespace {

TEST(SteadyState, DecodeStepsAllocateNothing) {
  EngineHarness harness;
  for (uint64_t key = 0; key < 8; ++key) {
    SamplingParams params;
    params.top_k = 20;
    params.top_p = 0.9f;
    params.min_p = 0.01f;
    params.repetition_penalty = 1.05f;
    params.frequency_penalty = 0.1f;
    params.logit_bias = {{3, 1.0f}};
    params.min_tokens = 150;
    params.max_tokens = 200;
    params.ignore_eos = true;
    ASSERT_TRUE(
        harness.engine->admit(make_request(key, prompt_ids(static_cast<int32_t>(key), 9), params))
            .ok());
  }
  harness.step();
  harness.step();
  std::vector<StageOutput> outputs;
  for (int step = 0; step < 150; ++step) {
    const int64_t before = g_allocations.load();
    harness.engine->schedule();
    harness.engine->run();
    EXPECT_EQ(g_allocations.load(), before) << "in step " << step;
    harness.engine->publish(outputs);
  }
  EXPECT_EQ(outputs.size(), 150u * 8);
  EXPECT_GT(g_allocations.load(), 0);
}

}  // namespace
}  // namespace tutti::ar
