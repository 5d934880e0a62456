// Decode steps of the real networks allocate nothing once the first ones are done: schedule,
// forward pass, sampling, code predictor.
#include <gtest/gtest.h>

#include "base/testing/counting_allocator.h"
#include "engine/ar/ar_engine.h"
#include "models/pipeline.h"
#include "tiny_prompts.h"

namespace tutti {
namespace {

// The talker's record of its frames doubles with the 17th and then not before the 33rd.
constexpr int kWarmup = 18;
constexpr int kSteps = 12;

class SteadyState : public ::testing::Test {
 protected:
  void SetUp() override {
    load_.model_dir = tiny::checkpoint();
    auto opened = open_pipeline(load_);
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    pipeline_ = std::move(opened).value();
  }
  ar::ArEngine make_engine(int32_t stage) {
    auto model = pipeline_->load_ar(stage, load_);
    EXPECT_TRUE(model.ok()) << model.error().message();
    return {std::move(model).value(), nullptr, *executor_, {}};
  }
  StageRequest request(int32_t stage, uint64_t key, bool wants_payload) const {
    StageRequest request;
    request.key = RequestKey(key);
    request.sampling_params =
        pipeline_->stages()[static_cast<size_t>(stage)].default_sampling_params;
    request.sampling_params.max_tokens = kWarmup + kSteps + 8;
    request.sampling_params.ignore_eos = true;
    request.seed = key;
    request.wants_payload = wants_payload;
    return request;
  }
  void admit_prompts(ar::ArEngine& thinker, bool wants_payload) {
    for (uint64_t key = 0; key < 3; ++key) {
      StageRequest r = request(0, key, wants_payload);
      auto input = pipeline_->process_prompt(
          TextPrompt{"<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"});
      ASSERT_TRUE(input.ok()) << input.error().message();
      r.input = std::move(input).value();
      ASSERT_TRUE(thinker.admit(std::move(r)).ok());
    }
  }
  // Runs steps and expects that the last kSteps of them allocate nothing before publish().
  void expect_no_allocation(ar::ArEngine& engine, std::vector<StageOutput>& outputs) {
    for (int step = 0; step < kWarmup + kSteps; ++step) {
      const int64_t before = testing::allocation_count();
      engine.schedule();
      engine.run();
      if (step >= kWarmup) EXPECT_EQ(testing::allocation_count() - before, 0) << "step " << step;
      engine.publish(outputs);
    }
  }

  LoadOptions load_;
  std::unique_ptr<Pipeline> pipeline_;
  std::unique_ptr<DeviceExecutor> executor_ = DeviceExecutor::create_cpu(2);
};

TEST_F(SteadyState, ThinkerDecodesWithoutAllocating) {
  if (!testing::counts_allocations()) GTEST_SKIP() << "a sanitizer owns the allocator";
  ar::ArEngine thinker = make_engine(0);
  // Payload is new memory by contract: somebody else keeps it.
  admit_prompts(thinker, false);
  std::vector<StageOutput> thought;
  expect_no_allocation(thinker, thought);
}

TEST_F(SteadyState, TalkerDecodesWithoutAllocating) {
  if (!testing::counts_allocations()) GTEST_SKIP() << "a sanitizer owns the allocator";
  ar::ArEngine thinker = make_engine(0);
  admit_prompts(thinker, true);
  std::map<uint64_t, std::vector<StagePayload>> chunks;
  while (thinker.has_runnable_work()) {
    std::vector<StageOutput> outputs;
    thinker.step(outputs);
    for (StageOutput& output : outputs) {
      if (!output.payload.empty()) chunks[output.key.value].push_back(std::move(output.payload));
    }
  }
  ar::ArEngine talker = make_engine(1);
  for (auto& [key, payloads] : chunks) {
    StageRequest r = request(1, key, true);
    r.input.payload = join_payloads(std::move(payloads));
    ASSERT_TRUE(talker.admit(std::move(r)).ok());
  }
  std::vector<StageOutput> said;
  expect_no_allocation(talker, said);
  // With the frames that wait for others to leave together.
  for (uint64_t key = 0; key < 3; ++key) said.push_back(*talker.abort(RequestKey(key)));
  size_t frames = 0;
  for (const StageOutput& output : said) frames += output.delta.token_ids.size();
  EXPECT_EQ(frames, static_cast<size_t>(3 * (kWarmup + kSteps)));
}

}  // namespace
}  // namespace tutti
