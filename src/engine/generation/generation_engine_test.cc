#include "engine/generation/generation_engine.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <numeric>

#include "engine/testing/fake_executor.h"
#include "engine/testing/fake_generation_model.h"
#include "media/fade_in.h"

namespace tutti::generation {
namespace {

using testing::kSamplesPerFrame;

struct Heard {
  std::vector<float> samples;
  std::vector<size_t> chunks;
  FinishReason reason = FinishReason::kNone;
  int ends = 0;
  Status error;
  StageMetrics metrics;
};

std::vector<int32_t> frames(int32_t seed, int32_t count) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), seed * 1000);
  return ids;
}

class GenerationEngineTest : public ::testing::Test {
 protected:
  explicit GenerationEngineTest(int64_t max_frames_per_step = 1000) { make(max_frames_per_step); }

  void make(int64_t max_frames_per_step, StageEngineOptions options = {}) {
    auto owned = std::make_unique<testing::FakeGenerationModel>(max_frames_per_step);
    model_ = owned.get();
    options.clock = &clock_;
    engine_ = std::make_unique<GenerationEngine>(std::move(owned), executor_, options);
    heard_.clear();
  }
  Status admit(uint64_t key, std::vector<int32_t> ids, bool last, bool streams = true,
               int32_t priority = 0) {
    StageRequest request;
    request.key = RequestKey(key);
    request.input.payload.token_ids = std::move(ids);
    request.input.last = last;
    request.streams_payload = streams;
    request.priority = priority;
    return engine_->admit(std::move(request));
  }
  void append(uint64_t key, std::vector<int32_t> ids, bool last) {
    StageChunk chunk;
    chunk.key = RequestKey(key);
    chunk.payload.token_ids = std::move(ids);
    chunk.last = last;
    engine_->append(std::move(chunk));
  }
  void step() {
    std::vector<StageOutput> outputs;
    engine_->step(outputs);
    for (const StageOutput& output : outputs) {
      Heard& heard = heard_[output.key.value];
      EXPECT_EQ(heard.ends, 0) << "an output after the last";
      const auto& samples = output.delta.audio.samples;
      heard.samples.insert(heard.samples.end(), samples.begin(), samples.end());
      heard.chunks.push_back(samples.size() / kSamplesPerFrame);
      heard.reason = output.delta.finish_reason;
      heard.ends += output.finished ? 1 : 0;
      heard.error = output.error;
      heard.metrics = output.metrics;
    }
  }
  void run_until_idle() {
    for (int i = 0; i < 1000; ++i) {
      if (!engine_->has_runnable_work()) {
        if (engine_->wake_at() == TimePoint::max()) return;
        clock_.advance(engine_->wake_at() - clock_.now());
      }
      step();
    }
    ADD_FAILURE() << "the engine never comes to rest";
  }
  double now_s() const { return to_seconds(clock_.now() - TimePoint()); }
  std::vector<float> one_shot(int32_t seed, int32_t count) {
    testing::FakeExecutor executor;
    testing::FakeGenerationModel model;
    StageInput input;
    input.payload.token_ids = frames(seed, count);
    auto sequence = std::move(model.start(input)).value();
    GenerationModel::Work work[] = {{sequence.get(), count, {}}};
    executor.run({}, [&](OpContext& ctx) { model.run(ctx, work); });
    return work[0].output.samples;
  }

  FakeClock clock_;
  testing::FakeExecutor executor_;
  testing::FakeGenerationModel* model_ = nullptr;
  std::unique_ptr<GenerationEngine> engine_;
  std::map<uint64_t, Heard> heard_;
};

TEST_F(GenerationEngineTest, ChunksGrowWithTheListenersLead) {
  ASSERT_TRUE(admit(0, frames(1, 100), false).ok());
  for (int i = 0; i < 9; ++i) step();
  // No time passes: each is twice the last one, then half of what has come so far.
  EXPECT_EQ(heard_[0].chunks, (std::vector<size_t>{1, 2, 4, 8, 7, 11, 16, 24, 27}));
}

TEST_F(GenerationEngineTest, ChunksAreSmallWhenTheListenerIsAboutToRunDry) {
  ASSERT_TRUE(admit(0, frames(1, 60), false).ok());
  for (int i = 0; i < 7; ++i) step();
  EXPECT_EQ(heard_[0].chunks.back(), 16u);
  clock_.advance(from_seconds(4.9));  // all of 49 frames is played
  step();
  EXPECT_EQ(heard_[0].chunks.back(), 4u);
  EXPECT_EQ(heard_[0].metrics.underrun_s, 0);
}

TEST_F(GenerationEngineTest, FramesAreWaitedForWhileTheListenerIsAhead) {
  ASSERT_TRUE(admit(0, frames(1, 1), false).ok());
  step();
  append(0, frames(2, 1), false);
  EXPECT_FALSE(engine_->has_runnable_work());
  // Two are awaited, till the margin is all that is left.
  EXPECT_NEAR(to_seconds(engine_->wake_at() - clock_.now()), 0.1 - 0.03, 1e-6);
  append(0, frames(3, 31), false);
  for (int i = 0; i < 5; ++i) step();
  EXPECT_NEAR(heard_[0].metrics.audio_s, 3.3, 1e-6);
  append(0, frames(2, 3), false);
  EXPECT_FALSE(engine_->has_runnable_work());
  // Until he has eight frames left, twice what there is and one more.
  EXPECT_NEAR(to_seconds(engine_->wake_at() - clock_.now()), 3.3 - 0.8, 1e-6);
  clock_.advance(engine_->wake_at() - clock_.now());
  EXPECT_TRUE(engine_->has_runnable_work());
  step();
  EXPECT_EQ(heard_[0].chunks.back(), 3u);
  EXPECT_EQ(engine_->wake_at(), TimePoint::max());
  // Enough of them, or the end, are not waited for.
  append(0, frames(3, 8), false);
  EXPECT_TRUE(engine_->has_runnable_work());
  step();
  append(0, frames(4, 1), true);
  EXPECT_TRUE(engine_->has_runnable_work());
  step();
  EXPECT_EQ(heard_[0].ends, 1);
  EXPECT_EQ(heard_[0].metrics.underrun_s, 0);
}

TEST_F(GenerationEngineTest, SilenceIsCounted) {
  ASSERT_TRUE(admit(0, frames(1, 1), false).ok());
  step();
  EXPECT_EQ(heard_[0].metrics.first_audio_s, heard_[0].metrics.first_output_s);
  clock_.advance(from_seconds(0.5));
  append(0, frames(2, 1), false);
  step();
  EXPECT_NEAR(heard_[0].metrics.underrun_s, 0.4, 1e-6);
  EXPECT_NEAR(heard_[0].metrics.audio_s, 0.2, 1e-6);
  // Playback goes on from there.
  clock_.advance(from_seconds(0.09));
  append(0, frames(3, 1), true);
  step();
  EXPECT_NEAR(heard_[0].metrics.underrun_s, 0.4, 1e-6);
}

TEST_F(GenerationEngineTest, SoundIsAudibleWhenItIsLoudEnough) {
  clock_.advance(from_seconds(1));
  model_->set_fade_in_s(20);  // so that the first frame is too soft
  ASSERT_TRUE(admit(0, frames(1, 1), false).ok());
  step();
  EXPECT_EQ(heard_[0].metrics.first_output_s, now_s());
  EXPECT_EQ(heard_[0].metrics.first_audio_s, 0);
  clock_.advance(from_seconds(0.1));
  append(0, frames(2, 60), true);
  run_until_idle();
  EXPECT_EQ(heard_[0].metrics.first_audio_s, now_s());
}

TEST_F(GenerationEngineTest, FadesEachAnswerInOnceHoweverItIsCut) {
  constexpr size_t kFaded = 20;
  std::vector<float> wanted = one_shot(1, 90);
  fade_in(wanted, 0, kFaded);
  ASSERT_NE(wanted, one_shot(1, 90));
  for (const bool streams : {true, false}) {
    make(1000);
    model_->set_fade_in_s(0.5);
    for (const uint64_t key : {0u, 1u}) {  // the second answer as the first
      ASSERT_TRUE(admit(key, frames(1, 3), false, streams).ok());
      for (int i = 0; i < 3; ++i) step();
      std::vector<int32_t> rest = frames(1, 90);
      rest.erase(rest.begin(), rest.begin() + 3);
      append(key, rest, true);
      run_until_idle();
      EXPECT_EQ(heard_[key].samples, wanted);
    }
  }
}

TEST_F(GenerationEngineTest, TakesEverythingOnceTheInputIsComplete) {
  ASSERT_TRUE(admit(0, frames(1, 90), true).ok());
  run_until_idle();
  EXPECT_EQ(heard_[0].chunks, (std::vector<size_t>{90}));
  make(25);
  ASSERT_TRUE(admit(0, frames(1, 90), true).ok());
  run_until_idle();
  EXPECT_EQ(heard_[0].chunks, (std::vector<size_t>{25, 25, 25, 15}));
  EXPECT_EQ(heard_[0].ends, 1);
  EXPECT_EQ(heard_[0].reason, FinishReason::kStop);
}

TEST_F(GenerationEngineTest, SamplesDontDependOnChunksOrNeighbours) {
  for (const bool streams : {true, false}) {
    make(25);
    for (int32_t at = 0; at < 60; at += 3) {
      for (uint64_t key = 0; key < 4; ++key) {
        const auto all = frames(static_cast<int32_t>(key), 60);
        const std::vector<int32_t> part(all.begin() + at, all.begin() + at + 3);
        if (at == 0) {
          ASSERT_TRUE(admit(key, part, false, streams).ok());
        } else {
          append(key, part, at == 57);
        }
      }
      if (at % 2 == 0 && engine_->has_runnable_work()) step();
    }
    run_until_idle();
    for (uint64_t key = 0; key < 4; ++key) {
      EXPECT_EQ(heard_[key].samples, one_shot(static_cast<int32_t>(key), 60));
      EXPECT_EQ(heard_[key].ends, 1);
      if (!streams) EXPECT_EQ(heard_[key].chunks.size(), 1u);
    }
    EXPECT_EQ(model_->num_sequences_alive, 0);
  }
}

TEST_F(GenerationEngineTest, AWholeResultWaitsForItsWholeInput) {
  ASSERT_TRUE(admit(0, frames(1, 5), false, false).ok());
  EXPECT_FALSE(engine_->has_runnable_work());
  append(0, frames(2, 5), true);
  run_until_idle();
  EXPECT_EQ(heard_[0].chunks, (std::vector<size_t>{10}));
}

TEST_F(GenerationEngineTest, TheEndMayComeAfterTheLastFrame) {
  ASSERT_TRUE(admit(0, frames(1, 1), false).ok());
  run_until_idle();
  EXPECT_EQ(heard_[0].ends, 0);
  append(0, {}, true);
  run_until_idle();
  EXPECT_EQ(heard_[0].ends, 1);
  EXPECT_EQ(heard_[0].samples.size(), size_t{kSamplesPerFrame});
  // And there may be no frame at all.
  ASSERT_TRUE(admit(1, {}, false).ok());
  append(1, {}, true);
  run_until_idle();
  EXPECT_EQ(heard_[1].ends, 1);
  EXPECT_TRUE(heard_[1].samples.empty());
}

TEST_F(GenerationEngineTest, BatchesSequencesWithinAStepsBounds) {
  StageEngineOptions options;
  options.max_num_seqs = 3;
  make(1000, options);
  for (uint64_t key = 0; key < 5; ++key) ASSERT_TRUE(admit(key, frames(1, 1), false).ok());
  step();
  EXPECT_EQ(model_->steps.back(), (std::vector<int64_t>{1, 1, 1}));
  step();
  EXPECT_EQ(model_->steps.back(), (std::vector<int64_t>{1, 1}));
  // Long chunks of others wait, the newcomer's first frame does not.
  for (uint64_t key = 10; key < 13; ++key) ASSERT_TRUE(admit(key, frames(1, 50), true).ok());
  step();
  EXPECT_EQ(model_->steps.back(), (std::vector<int64_t>{50}));
}

TEST_F(GenerationEngineTest, WhoRunsDryFirstGoesFirst) {
  make(10);
  ASSERT_TRUE(admit(0, frames(1, 100), true).ok());
  step();
  step();  // key 0 has two seconds in its buffer
  ASSERT_TRUE(admit(1, frames(1, 10), false).ok());
  step();
  ASSERT_EQ(model_->steps.back().size(), 2u);
  EXPECT_EQ(model_->steps.back()[0], 1);  // the newcomer's first frame
  EXPECT_EQ(model_->steps.back()[1], 10);
  // Its deadline is that of the one who waits longest.
  EXPECT_LE(executor_.last_order.deadline, clock_.now());
  run_until_idle();
  ASSERT_TRUE(admit(2, frames(1, 1), false, true, 3).ok());
  ASSERT_TRUE(admit(3, frames(1, 2), true, true, -3).ok());
  step();
  EXPECT_EQ(executor_.last_order.priority, -3);
  EXPECT_EQ(model_->steps.back(), (std::vector<int64_t>{2, 1}));
}

TEST_F(GenerationEngineTest, TheDeadlineIsWhenTheListenersBufferIsEmpty) {
  FrameScheduler scheduler(*model_, 4);
  StageInput input;
  Sequence sequence;
  sequence.model = std::move(model_->start(input)).value();
  sequence.submitted = TimePoint(std::chrono::seconds(100));
  EXPECT_EQ(scheduler.deadline(sequence), sequence.submitted);
  sequence.playback_begin = TimePoint(std::chrono::seconds(101));
  sequence.samples_out = model_->info().sample_rate * 5;
  EXPECT_EQ(scheduler.deadline(sequence), TimePoint(std::chrono::seconds(106)));
}

TEST_F(GenerationEngineTest, ErrorsBelongToTheirSequence) {
  EXPECT_EQ(admit(0, {testing::kRefusedFrame}, true).message(), "This frame is refused.");
  ASSERT_TRUE(admit(1, frames(1, 2), false).ok());
  ASSERT_TRUE(admit(2, frames(1, 2), false).ok());
  append(1, {testing::kRefusedFrame}, true);
  append(2, {}, true);
  run_until_idle();
  EXPECT_EQ(heard_[1].error.message(), "This frame is refused.");
  EXPECT_EQ(heard_[1].ends, 1);
  EXPECT_TRUE(heard_[2].error.ok());
  ASSERT_TRUE(admit(3, {testing::kThrowFrame}, true).ok());
  run_until_idle();
  EXPECT_EQ(heard_[3].error.message(), "The model failed in a step: the fake vocoder throws");
  EXPECT_EQ(admit(4, frames(1, 1), false).code(), StatusCode::kOk);
  EXPECT_EQ(admit(4, frames(1, 1), false).code(), StatusCode::kAlreadyExists);
}

TEST_F(GenerationEngineTest, AbortLetsGoAtOnceAndSaysNothingMore) {
  ASSERT_TRUE(admit(0, frames(1, 50), false).ok());
  step();
  EXPECT_EQ(engine_->stats().running, 1);
  EXPECT_TRUE(engine_->abort(RequestKey(0)).has_value());
  EXPECT_EQ(model_->num_sequences_alive, 0);
  EXPECT_FALSE(engine_->abort(RequestKey(0)).has_value());
  EXPECT_FALSE(engine_->has_runnable_work());
  step();
  EXPECT_EQ(heard_[0].ends, 0);
  EXPECT_EQ(heard_[0].chunks.size(), 1u);
}

TEST_F(GenerationEngineTest, CountsAndTimes) {
  ASSERT_TRUE(admit(0, frames(1, 7), true).ok());
  EXPECT_EQ(engine_->stats().waiting, 1);
  run_until_idle();
  const StageMetrics& metrics = heard_[0].metrics;
  EXPECT_EQ(metrics.prompt_tokens, 7);
  EXPECT_EQ(metrics.output_tokens, 7 * kSamplesPerFrame);
  EXPECT_LE(metrics.submitted_s, metrics.first_scheduled_s);
  EXPECT_LE(metrics.first_scheduled_s, metrics.first_output_s);
  EXPECT_LE(metrics.first_output_s, metrics.finished_s);
  EXPECT_EQ(engine_->stats().steps, 1);
}

}  // namespace
}  // namespace tutti::generation
