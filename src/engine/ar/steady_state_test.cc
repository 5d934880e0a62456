// A decode step in steady state allocates nothing: schedule, forward pass, sampling.
#include <gtest/gtest.h>

#include "base/testing/counting_allocator.h"
#include "engine/ar/engine_harness.h"

namespace tutti::ar {
namespace {

TEST(SteadyState, DecodeStepsAllocateNothing) {
  if (!testing::counts_allocations()) GTEST_SKIP() << "a sanitizer owns the allocator";
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
    const int64_t before = testing::allocation_count();
    harness.engine->schedule();
    harness.engine->run();
    EXPECT_EQ(testing::allocation_count(), before) << "in step " << step;
    harness.engine->publish(outputs);
  }
  EXPECT_EQ(outputs.size(), 150u * 8);
  EXPECT_GT(testing::allocation_count(), 0);
}

}  // namespace
}  // namespace tutti::ar
