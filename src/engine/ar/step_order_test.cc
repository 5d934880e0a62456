// By when the device is told that an AR step's result is needed.
#include "engine/ar/step_order.h"

#include <gtest/gtest.h>

#include "engine/ar/engine_harness.h"

namespace tutti::ar {
namespace {

class StepOrderTest : public ::testing::Test {
 protected:
  void make(double frame_s) {
    testing::FakeArOptions model;
    model.frame_s = frame_s;
    StageEngineOptions options;
    options.clock = &clock_;
    harness_ = std::make_unique<EngineHarness>(model, options);
  }
  void admit(uint64_t key, int32_t priority = 0, bool streams = true) {
    SamplingParams params;
    params.max_tokens = 50;
    StageRequest request = make_request(key, prompt_ids(1, 4), params);
    request.priority = priority;
    request.streams_payload = streams;
    ASSERT_TRUE(harness_->engine->admit(std::move(request)).ok());
  }
  // Seconds from now to the last step's deadline.
  double left() const { return to_seconds(harness_->executor.last_order.deadline - clock_.now()); }

  FakeClock clock_;
  std::unique_ptr<EngineHarness> harness_;
};

TEST_F(StepOrderTest, SpeechIsNeededWhenWhatThereIsHasBeenPlayed) {
  make(0.08);
  admit(0);
  harness_->step();
  EXPECT_NEAR(left(), 0.2, 1e-6);  // a first frame, soon
  EXPECT_TRUE(harness_->executor.last_order.for_listener);
  for (int frames = 1; frames < 6; ++frames) {
    harness_->step();
    EXPECT_NEAR(left(), 0.08 * frames, 1e-6);
  }
  clock_.advance(std::chrono::seconds(1));
  harness_->step();
  EXPECT_NEAR(left(), 0.08 * 6 - 1, 1e-6) << "he has been waiting since";
}

TEST_F(StepOrderTest, AStepIsAsUrgentAsItsMostUrgentSequence) {
  make(0.08);
  admit(0);
  for (int step = 0; step < 20; ++step) harness_->step();
  admit(1);
  harness_->step();
  EXPECT_NEAR(left(), 0.2, 1e-6);
  harness_->step();
  EXPECT_NEAR(left(), 0.08, 1e-6);
  admit(2, -3);
  harness_->step();
  EXPECT_EQ(harness_->executor.last_order.priority, -3);
}

TEST_F(StepOrderTest, TextKeepsPaceWithItsReader) {
  make(0);
  admit(0);
  harness_->step();
  EXPECT_NEAR(left(), 0.2, 1e-6);
  EXPECT_FALSE(harness_->executor.last_order.for_listener);
  harness_->step();
  harness_->step();
  EXPECT_NEAR(left(), 0.1, 1e-6);
}

TEST_F(StepOrderTest, WholeResultsArePatient) {
  make(0.08);
  admit(0, 0, false);
  harness_->step();
  harness_->step();
  EXPECT_NEAR(left(), 10, 1e-6);
  EXPECT_FALSE(harness_->executor.last_order.for_listener);
}

}  // namespace
}  // namespace tutti::ar
