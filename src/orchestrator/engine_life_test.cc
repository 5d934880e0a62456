// AsyncOmniEngine over fake stages: starting, aborting, failing, ending, idling.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <time.h>

#include <atomic>
#include <stdexcept>
#include <thread>

#include "orchestrator/testing/engine_fixture.h"

namespace tutti::fake {
namespace {

using testing::HasSubstr;

using EngineLifeTest = EngineFixture;

double process_cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

TEST_F(EngineLifeTest, AStageThatDoesNotGetReadyIsNamed) {
  EngineParts parts = fake_parts(omni_specs());
  std::atomic<bool> told{false};
  parts.stages[1].load = [&](const ReportProgress& report) {
    while (report(0.4, "loading weights")) std::this_thread::yield();
    told = true;
    return Result<LoadedStage>(unavailable("Nobody waits any more."));
  };
  EngineOptions options;
  options.stage_init_timeout_s = 0.02;
  const auto engine = start_engine(std::move(parts), options);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(engine.error().message(), HasSubstr("stage 1 (talker)"));
  EXPECT_THAT(engine.error().message(), HasSubstr("loading weights (40 %)"));
  EXPECT_TRUE(told) << "what was started has been stopped";
}

TEST_F(EngineLifeTest, AFailedLoadIsNamedWithItsCause) {
  EngineParts parts = fake_parts(omni_specs());
  parts.stages[2].load = [](const ReportProgress&) {
    return Result<LoadedStage>(not_found("The file 'model.safetensors' is missing."));
  };
  std::vector<std::string> progress;
  EngineOptions options;
  options.on_progress = [&](const std::string& stage, double, const std::string& what) {
    progress.push_back(stage + ": " + what);
  };
  const auto engine = start_engine(std::move(parts), options);
  ASSERT_FALSE(engine);
  EXPECT_THAT(engine.error().message(), HasSubstr("stage 2 (code2wav)"));
  EXPECT_THAT(engine.error().message(), HasSubstr("model.safetensors"));
}

TEST_F(EngineLifeTest, AbortEndsARequestInEveryStage) {
  for (int32_t stage = 0; stage < 3; ++stage) {
    seen_.clear();
    const auto gate = std::make_shared<Gate>();
    std::vector<FakeOptions> stages(3);
    stages[stage] = gated(gate);
    start(stages);
    ASSERT_TRUE(engine_->add_request(request("a", 50)).ok());
    gate->wait_for(1);
    ASSERT_TRUE(engine_->abort({"a", "unknown"}).ok());
    // The terminal message follows when every stage has let go; this one is held up.
    EXPECT_EQ(seen_["a"].terminals, 0);
    gate->open();
    EXPECT_EQ(read_until_end("a").finish_reason, FinishReason::kAbort);
    // The engine goes on, and the aborted request says nothing more.
    ASSERT_TRUE(engine_->add_request(request("b", 2)).ok());
    EXPECT_EQ(read_until_end("b").finish_reason, FinishReason::kStop);
    EXPECT_EQ(seen_["a"].terminals, 1);
  }
}

TEST_F(EngineLifeTest, AnErrorInAStageEndsThatRequestEverywhere) {
  for (const auto fault :
       {Fault::kAdmitError, Fault::kAdmitThrow, Fault::kAppendThrow, Fault::kStepError}) {
    seen_.clear();
    FakeOptions talker;
    talker.fault = [fault](RequestKey key, int32_t) {
      return key.value == 1 ? fault : Fault::kNone;
    };
    start({{}, talker, {}});
    ASSERT_TRUE(engine_->add_request(request("bad", 50)).ok());
    ASSERT_TRUE(engine_->add_request(request("good", 5)).ok());
    EXPECT_FALSE(read_until_end("bad").error.ok());
    EXPECT_EQ(read_until_end("good").finish_reason, FinishReason::kStop);
    EXPECT_EQ(seen_["bad"].terminals, 1);
    EXPECT_TRUE(engine_->is_alive());
  }
}

TEST_F(EngineLifeTest, ADeadReplicaFailsWhatWasBoundToItAndIsNoticed) {
  EngineParts parts = fake_parts(omni_specs());
  class Dying final : public StageEngine {
   public:
    Status admit(StageRequest) override {
      admitted_ = true;
      return {};
    }
    void append(StageChunk) override {}
    std::optional<StageOutput> abort(RequestKey) override { return std::nullopt; }
    bool has_runnable_work() const override { return admitted_; }
    void step(std::vector<StageOutput>&) override { throw std::runtime_error("heart failure"); }
    EngineStats stats() const override { return {}; }
    bool admitted_ = false;
  };
  parts.stages[1].load = [](const ReportProgress&) {
    LoadedStage loaded;
    loaded.engine = std::make_unique<Dying>();
    return Result<LoadedStage>(std::move(loaded));
  };
  engine_ = start_engine(std::move(parts), {}).value();
  ASSERT_TRUE(engine_->add_request(request("speech", 5)).ok());
  const Seen& seen = read_until_end("speech");
  EXPECT_EQ(seen.error.code(), StatusCode::kUnavailable);
  ASSERT_TRUE(engine_->add_request(request("text", 5, {0})).ok());
  EXPECT_TRUE(read_until_end("text").error.ok()) << "stages that live go on";
  EXPECT_FALSE(engine_->is_alive());
  EXPECT_THAT(engine_->health().message(), HasSubstr("stage 1 (talker)"));
}

TEST_F(EngineLifeTest, ShutdownEndsLiveRequestsWithOneTerminalMessageEach) {
  const auto gate = std::make_shared<Gate>();
  EngineOptions options;
  options.max_num_seqs = 1;
  start({{}, gated(gate), {}}, options);
  // More than can be live at once: some wait in the request queue.
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(engine_->add_request(request("r" + std::to_string(i), 3)).ok());
  }
  gate->wait_for(1);
  gate->open();
  engine_->shutdown();
  engine_->shutdown();
  EXPECT_FALSE(engine_->is_alive());
  EXPECT_EQ(engine_->add_request(request("late", 1)).code(), StatusCode::kUnavailable);
  while (read_one()) {
  }
  EXPECT_FALSE(engine_->try_get_output(1)) << "an error once everything has been read";
  for (int i = 0; i < 30; ++i) EXPECT_EQ(seen_["r" + std::to_string(i)].terminals, 1) << i;
}

TEST_F(EngineLifeTest, AnIdleEngineUsesNoCpu) {
  start();
  ASSERT_TRUE(engine_->add_request(request("a", 5)).ok());
  read_until_end("a");
  const double before = process_cpu_seconds();
  // A reader that waits is part of an idle engine.
  EXPECT_FALSE(engine_->try_get_output(1.0).value());
  EXPECT_LT(process_cpu_seconds() - before, 0.01) << "1 % of a core over a second";
}

}  // namespace
}  // namespace tutti::fake
