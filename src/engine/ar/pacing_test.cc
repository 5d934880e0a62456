// How many frames leave at once, when a talker waits for several tokens, and how long prompts'
// steps may be.
#include <gtest/gtest.h>

#include "engine/ar/engine_harness.h"

namespace tutti::ar {
namespace {

class PacingTest : public ::testing::Test {
 protected:
  void make(testing::FakeArOptions model) {
    StageEngineOptions options;
    options.clock = &clock_;
    harness_ = std::make_unique<EngineHarness>(model, options);
  }
  void make(double frame_s) {
    testing::FakeArOptions model;
    model.frame_s = frame_s;
    make(model);
  }
  void admit(uint64_t key, int32_t tokens, int32_t prompt = 4) {
    SamplingParams params;
    params.max_tokens = tokens;
    StageRequest request = make_request(key, prompt_ids(1, prompt), params);
    request.wants_payload = true;
    ASSERT_TRUE(harness_->engine->admit(std::move(request)).ok());
  }
  const Collected& of(uint64_t key) { return harness_->results[key]; }
  ArEngine& engine() { return *harness_->engine; }
  double seconds_to_wake() { return to_seconds(engine().wake_at() - clock_.now()); }

  FakeClock clock_;
  std::unique_ptr<EngineHarness> harness_;
};

TEST_F(PacingTest, FramesLeaveInGroupsWhileTheListenerHasPlenty) {
  make(0.08);
  admit(0, 100);
  std::vector<size_t> groups;
  for (int frames = 0; frames < 100; ++frames) {
    const size_t before = of(0).codes.size();
    harness_->step();
    if (of(0).codes.size() != before) groups.push_back((of(0).codes.size() - before) / 2);
  }
  // A quarter of what has been made, as no time passes; the end takes the rest along.
  EXPECT_EQ(groups, (std::vector<size_t>{1, 1, 1, 1, 2, 2, 3, 4, 5, 7, 9, 12, 16, 16, 16, 4}));
  EXPECT_EQ(of(0).tokens.size(), 100u);
  EXPECT_EQ(of(0).ends, 1);
  EXPECT_EQ(engine().wake_at(), TimePoint::max());
}

TEST_F(PacingTest, AGroupLeavesInTimeThoughNoFrameFollows) {
  testing::FakeArOptions model;
  model.frame_s = 0.08;
  model.needs_upstream = true;
  make(model);
  const TimePoint begin = clock_.now();
  StageRequest request = make_request(0, prompt_ids(1, 40), {});
  request.wants_payload = true;
  request.input.last = false;
  ASSERT_TRUE(engine().admit(std::move(request)).ok());
  for (int frames = 0; frames < 40; ++frames) harness_->step();
  const size_t before = of(0).tokens.size();
  ASSERT_LT(before, 40u) << "some wait";
  EXPECT_FALSE(engine().has_runnable_work());
  for (int wakes = 0; wakes < 3 && of(0).tokens.size() == before; ++wakes) {
    ASSERT_LT(engine().wake_at(), TimePoint::max());
    clock_.advance(engine().wake_at() - clock_.now());
    ASSERT_TRUE(engine().has_runnable_work());
    harness_->step();
  }
  EXPECT_EQ(of(0).tokens.size(), 40u);
  // 40 frames last 3.2 s; the group left when four times as long as it were still to be heard.
  EXPECT_NEAR(3.2 - to_seconds(clock_.now() - begin), 4 * 0.08 * (40.0 - before), 0.081);
  EXPECT_EQ(engine().wake_at(), TimePoint::max());
}

TEST_F(PacingTest, ATalkerLetsSomeTokensComeWhileItsListenerCanWait) {
  testing::FakeArOptions model;
  model.frame_s = 0.08;
  model.needs_upstream = true;
  make(model);
  StageRequest request = make_request(0, prompt_ids(1, 3), {});
  request.input.last = false;
  ASSERT_TRUE(engine().admit(std::move(request)).ok());
  for (int frames = 0; frames < 3; ++frames) harness_->step();
  const uint64_t steps = harness_->executor.num_steps;
  ASSERT_FALSE(engine().has_runnable_work());
  // Three frames last 0.24 s: half of it may pass.
  EXPECT_NEAR(seconds_to_wake(), 0.12, 1e-6);
  harness_->append(0, prompt_ids(2, 7), false);
  EXPECT_FALSE(engine().has_runnable_work());
  harness_->append(0, prompt_ids(3, 1), false);
  for (int frames = 0; frames < 8; ++frames) {
    ASSERT_TRUE(engine().has_runnable_work()) << frames;
    harness_->step();
  }
  EXPECT_EQ(harness_->executor.num_steps, steps + 8);
  // Fewer are taken when the time is over, and what there is at the end of the text.
  harness_->append(0, prompt_ids(4, 1), false);
  EXPECT_FALSE(engine().has_runnable_work());
  clock_.advance(from_seconds(0.08 * 11 / 2));
  ASSERT_TRUE(engine().has_runnable_work());
  harness_->step();
  EXPECT_EQ(harness_->executor.num_steps, steps + 9);
  ASSERT_FALSE(engine().has_runnable_work());
  harness_->append(0, {}, true);
  EXPECT_TRUE(engine().has_runnable_work());
}

TEST_F(PacingTest, TextLeavesTokenByToken) {
  make(0.0);
  admit(0, 30);
  for (size_t tokens = 1; tokens <= 30; ++tokens) {
    harness_->step();
    EXPECT_EQ(of(0).tokens.size(), tokens);
  }
}

TEST_F(PacingTest, AnAbortGivesWhatWaits) {
  make(0.08);
  admit(0, 100);
  for (int frames = 0; frames < 44; ++frames) harness_->step();
  const size_t left = of(0).tokens.size();
  ASSERT_LT(left, 44u);
  const std::optional<StageOutput> rest = engine().abort(RequestKey(0));
  ASSERT_TRUE(rest);
  EXPECT_EQ(left + rest->delta.token_ids.size(), 44u);
  EXPECT_EQ(engine().wake_at(), TimePoint::max());
  harness_->expect_all_memory_free();
}

TEST_F(PacingTest, AFailureComesBehindWhatWaits) {
  make(0.08);
  admit(0, 100);
  for (int frames = 0; frames < 44; ++frames) harness_->step();
  ASSERT_LT(of(0).tokens.size(), 44u);
  harness_->append(0, {testing::kRefusedId}, false);
  harness_->run_until_idle();
  EXPECT_EQ(of(0).tokens.size(), 44u);
  EXPECT_EQ(of(0).ends, 1);
  EXPECT_FALSE(of(0).error.ok());
}

TEST_F(PacingTest, LateResultsMoveWhatFollowsOn) {
  make(0.0);
  admit(0, 30);
  harness_->step();
  clock_.advance(std::chrono::seconds(9));
  harness_->step();  // nine seconds late
  harness_->step();
  // Or a request in a crowd would owe ever more, and newcomers would wait until they owed as much.
  EXPECT_NEAR(to_seconds(harness_->executor.last_order.deadline - clock_.now()), 0.05, 1e-6);
}

// A prompt token costs 2 ms here.
class PromptPartsTest : public ::testing::Test {
 protected:
  PromptPartsTest() {
    StageEngineOptions options;
    options.clock = &clock_;
    testing::FakeArOptions model;
    model.max_model_len = 4096;
    model.during_forward = [this](int64_t rows) {
      clock_.advance(std::chrono::milliseconds(2) * rows);
    };
    harness_ = std::make_unique<EngineHarness>(model, options);
    // What it costs is learned from the first one.
    admit(0, 20, 1);
    harness_->run_until_idle();
  }
  void admit(uint64_t key, int32_t prompt, int32_t tokens) {
    SamplingParams params;
    params.max_tokens = tokens;
    const auto seed = static_cast<int32_t>(key);
    ASSERT_TRUE(harness_->engine->admit(make_request(key, prompt_ids(seed, prompt), params)).ok());
  }
  int64_t rows() const { return harness_->model->rows_computed; }
  int64_t rows_of_a_step() {
    const int64_t before = rows();
    harness_->step();
    return rows() - before;
  }

  FakeClock clock_;
  std::unique_ptr<EngineHarness> harness_;
};

TEST_F(PromptPartsTest, AloneItsStepsTakeASecond) {
  admit(1, 1500, 1);
  EXPECT_EQ(rows_of_a_step(), 500);
}

TEST_F(PromptPartsTest, BesideAReaderATenthOfASecond) {
  admit(1, 4, 50);
  harness_->step();
  admit(2, 500, 1);
  EXPECT_EQ(rows_of_a_step(), 1 + 50);
}

}  // namespace
}  // namespace tutti::ar
