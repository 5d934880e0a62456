// AsyncOmniEngine over fake stages, with its real threads and queues.
#include "tutti/async_omni_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <time.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "orchestrator/engine_parts.h"
#include "orchestrator/testing/fake_pipeline.h"

namespace tutti {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Everything that came for one request.
struct Seen {
  std::map<int32_t, std::vector<int32_t>> tokens;
  std::vector<int32_t> metrics_of;
  FinishReason finish_reason = FinishReason::kNone;
  Status error;
  int terminals = 0;
};

class AsyncOmniEngineTest : public testing::Test {
 protected:
  void start(std::vector<fake::FakeOptions> stages = {}, EngineOptions options = {}) {
    auto engine = start_engine(fake::fake_parts(fake::omni_specs(), stages, 100), options);
    ASSERT_TRUE(engine) << engine.error().to_string();
    engine_ = std::move(engine).value();
  }
  AddRequest request(const std::string& id, int32_t tokens, std::vector<int32_t> wanted = {}) {
    AddRequest request;
    request.request_id = id;
    request.prompt = TextPrompt{"hello"};
    request.sampling_params_list.resize(3);
    for (auto& params : request.sampling_params_list) params.max_tokens = tokens;
    request.final_output_stage_ids = std::move(wanted);
    return request;
  }
  // One message; fails the test when none comes for long.
  bool read_one() {
    auto message = engine_->try_get_output(30);
    if (!message || !*message) return false;
    take(**message);
    return true;
  }
  void take(const EngineMessage& message) {
    if (const auto* output = std::get_if<OutputMessage>(&message)) {
      Seen& seen = seen_[output->request_id];
      auto& tokens = seen.tokens[output->stage_id];
      tokens.insert(tokens.end(), output->output.token_ids.begin(), output->output.token_ids.end());
      if (!output->finished) return;
      seen.finish_reason = output->output.finish_reason;
      ++seen.terminals;
    } else if (const auto* error = std::get_if<ErrorMessage>(&message)) {
      seen_[error->request_id].error = error->error;
      ++seen_[error->request_id].terminals;
    } else {
      const auto& metrics = std::get<StageMetricsMessage>(message);
      seen_[metrics.request_id].metrics_of.push_back(metrics.stage_id);
    }
  }
  const Seen& read_until_end(const std::string& id) {
    while (seen_[id].terminals == 0) {
      if (!read_one()) {
        ADD_FAILURE() << "no terminal message for " << id;
        break;
      }
    }
    return seen_[id];
  }

  std::unique_ptr<AsyncOmniEngine> engine_;
  std::map<std::string, Seen> seen_;
};

TEST_F(AsyncOmniEngineTest, HasTheAttributesOfTheContract) {
  start();
  EXPECT_EQ(engine_->model(), "fake");
  EXPECT_EQ(engine_->num_stages(), 3);
  EXPECT_TRUE(engine_->async_chunk());
  EXPECT_EQ(engine_->default_sampling_params_list().size(), 3u);
  EXPECT_THAT(engine_->voices(), ElementsAre("Ana", "Ben"));
  EXPECT_THAT(engine_->supported_tasks(), ElementsAre("generate", "speech"));
  EXPECT_EQ(engine_->diffusion_batch_size(), 1);
  EXPECT_FALSE(engine_->single_stage_mode());
  EXPECT_THAT(engine_->input_processor()->prompt_token_ids(TextPrompt{"ab"}).value(),
              ElementsAre('a', 'b'));
  ASSERT_EQ(engine_->stage_pools().size(), 3u);
  EXPECT_EQ(engine_->stage_pools()[1].replicas[0].state, "ready");
  EXPECT_EQ(engine_->stage_clients()[2].replica_id, 0);
  EXPECT_EQ(engine_->stage_metadata()[1].model_stage, "talker");
  EXPECT_EQ(engine_->get_stage_metadata(2).value().final_output_type, "audio");
  EXPECT_THAT(engine_->get_stage_metadata(-1).error().message(), HasSubstr("0 to 2"));
  EXPECT_FALSE(engine_->get_stage_metadata(3));
  EXPECT_EQ(engine_->queues()[0].name, "request_queue");
  EXPECT_EQ(engine_->queues()[1].capacity, 4096);
  EXPECT_TRUE(engine_->is_alive());
  char name[16] = {};
  pthread_getname_np(engine_->orchestrator_thread(), name, sizeof name);
  EXPECT_STREQ(name, "orchestrator");
}

TEST_F(AsyncOmniEngineTest, RunsARequestThroughAllStages) {
  for (const bool async_chunk : {true, false}) {
    seen_.clear();
    EngineOptions options;
    options.async_chunk = async_chunk;
    start({}, options);
    ASSERT_TRUE(engine_->add_request(request("a", 9)).ok());
    const Seen& seen = read_until_end("a");
    const auto graph = StageGraph::build(fake::omni_specs()).value();
    EXPECT_EQ(seen.tokens.at(0), fake::expected_tokens(graph, 0, RequestKey(1), 9));
    EXPECT_EQ(seen.tokens.at(2), fake::expected_tokens(graph, 2, RequestKey(1), 9));
    EXPECT_THAT(seen.metrics_of, ElementsAre(1));
    EXPECT_EQ(seen.finish_reason, FinishReason::kStop);
  }
}

TEST_F(AsyncOmniEngineTest, StagesNobodyAskedForNeverRun) {
  start();
  ASSERT_TRUE(engine_->add_request(request("a", 5, {0})).ok());
  const Seen& seen = read_until_end("a");
  EXPECT_EQ(seen.tokens.at(0).size(), 5u);
  EXPECT_GT(engine_->stage_pools()[0].replicas[0].steps, 0);
  EXPECT_EQ(engine_->stage_pools()[1].replicas[0].steps, 0);
  EXPECT_EQ(engine_->stage_pools()[2].replicas[0].steps, 0);
}

TEST_F(AsyncOmniEngineTest, OutputOfALaterStageAloneIsGivenAlone) {
  start();
  ASSERT_TRUE(engine_->add_request(request("a", 5, {2, 2})).ok());
  const Seen& seen = read_until_end("a");
  EXPECT_EQ(seen.tokens.count(0), 0u);
  EXPECT_EQ(seen.tokens.at(2).size(), 5u);
}

TEST_F(AsyncOmniEngineTest, WrongArgumentsAreErrorsAtTheCall) {
  start();
  const auto refused = [&](AddRequest wrong, const char* what, const char* param) {
    const Status status = engine_->add_request(std::move(wrong));
    EXPECT_THAT(status.message(), HasSubstr(what));
    EXPECT_EQ(status.param(), param) << what;
  };
  refused(request("", 1), "`request_id` is empty", "request_id");
  refused(request("a", 1, {1}), "has 1; the stages with a final output are 0, 2",
          "final_output_stage_ids");
  AddRequest wrong = request("a", 1);
  wrong.sampling_params_list.pop_back();
  refused(wrong, "has 2 entries; this model has 3 stages", "sampling_params_list");
  wrong = request("a", 1);
  wrong.sampling_params_list[1].temperature = -1;
  refused(wrong, "stage 1 (talker)", "temperature");
  wrong = request("a", 1);
  wrong.voice = "Zoe";
  refused(wrong, "this model has: Ana, Ben", "");
  wrong = request("a", 1);
  wrong.prompt = TextPrompt{""};
  refused(wrong, "prompt is empty", "");
  wrong.prompt = TextPrompt{std::string(101, 'x')};
  refused(wrong, "has 101 tokens; the context holds 101", "prompt");
  wrong.prompt = TextPrompt{"throw"};
  refused(wrong, "tokenizer broke", "");
  EXPECT_EQ(engine_->queues()[0].high_water, 0) << "nothing was enqueued";
  // None of the refused ids stayed taken.
  ASSERT_TRUE(engine_->add_request(request("a", 1)).ok());
  EXPECT_TRUE(read_until_end("a").error.ok());
}

TEST_F(AsyncOmniEngineTest, ALiveIdIsRefusedAndFreeAfterItsTerminalMessage) {
  start();
  ASSERT_TRUE(engine_->add_request(request("a", 3)).ok());
  EXPECT_EQ(engine_->add_request(request("a", 3)).code(), StatusCode::kAlreadyExists);
  read_until_end("a");
  EXPECT_TRUE(engine_->add_request(request("a", 3)).ok());
}

// A stage that does not go on before it is let.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
  }
  void wait_for(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int waiting_ = 0;
};

fake::FakeOptions gated(const std::shared_ptr<Gate>& gate) {
  fake::FakeOptions options;
  options.on_admit = [gate](const StageRequest&, int32_t) { gate->pass(); };
  return options;
}

TEST_F(AsyncOmniEngineTest, AbortEndsARequestInEveryStage) {
  for (int32_t stage = 0; stage < 3; ++stage) {
    seen_.clear();
    const auto gate = std::make_shared<Gate>();
    std::vector<fake::FakeOptions> stages(3);
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

TEST_F(AsyncOmniEngineTest, AFullRequestQueueAnswersAtOnceOrWaitsAsLongAsAsked) {
  const auto gate = std::make_shared<Gate>();
  EngineOptions options;
  options.request_queue_size = 2;
  options.max_num_seqs = 1;  // 16 live requests
  start({gated(gate)}, options);
  Status status;
  int accepted = 0;
  while (status.ok() && accepted < 100) {
    status = engine_->add_request(request("r" + std::to_string(accepted), 1));
    if (status.ok()) {
      ++accepted;
      continue;
    }
    // The orchestrator may still be taking requests over; what is asked for is the steady state.
    AddRequest again = request("r" + std::to_string(accepted), 1);
    again.queue_timeout_s = 0.05;
    status = engine_->add_request(again);
    accepted += status.ok();
  }
  EXPECT_EQ(accepted, 18);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_GT(status.retry_after_s(), 0);
  // Aborting one that still waits in the queue makes room.
  ASSERT_TRUE(engine_->abort({"r17"}).ok());
  EXPECT_EQ(read_until_end("r17").finish_reason, FinishReason::kAbort);
  AddRequest patient = request("patient", 1);
  patient.queue_timeout_s = 30;
  EXPECT_TRUE(engine_->add_request(patient).ok());
  gate->open();
  for (int i = 0; i < 17; ++i) read_until_end("r" + std::to_string(i));
  EXPECT_EQ(read_until_end("patient").finish_reason, FinishReason::kStop);
}

TEST_F(AsyncOmniEngineTest, ASlowReaderStopsNobodyAndLosesNothing) {
  EngineOptions options;
  options.output_queue_size = 1;
  start({}, options);
  const auto graph = StageGraph::build(fake::omni_specs()).value();
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(engine_->add_request(request("r" + std::to_string(i), 20)).ok());
  }
  // Everything is computed although nobody reads.
  while (engine_->stage_pools()[2].replicas[0].outstanding > 0 ||
         engine_->stage_pools()[2].replicas[0].steps == 0) {
    std::this_thread::yield();
  }
  for (int i = 0; i < 8; ++i) {
    const Seen& seen = read_until_end("r" + std::to_string(i));
    EXPECT_EQ(seen.tokens.at(0), fake::expected_tokens(graph, 0, RequestKey(i + 1), 20));
    EXPECT_EQ(seen.tokens.at(2), fake::expected_tokens(graph, 2, RequestKey(i + 1), 20));
  }
  EXPECT_LE(engine_->queues()[1].high_water, 1);
}

TEST_F(AsyncOmniEngineTest, ShutdownEndsLiveRequestsWithOneTerminalMessageEach) {
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

TEST_F(AsyncOmniEngineTest, AnErrorInAStageEndsThatRequestEverywhere) {
  for (const auto fault : {fake::Fault::kAdmitError, fake::Fault::kAdmitThrow,
                           fake::Fault::kAppendThrow, fake::Fault::kStepError}) {
    seen_.clear();
    fake::FakeOptions talker;
    talker.fault = [fault](RequestKey key, int32_t) {
      return key.value == 1 ? fault : fake::Fault::kNone;
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

TEST_F(AsyncOmniEngineTest, ADeadReplicaFailsWhatWasBoundToItAndIsNoticed) {
  EngineParts parts = fake::fake_parts(fake::omni_specs());
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

TEST_F(AsyncOmniEngineTest, AStageThatDoesNotGetReadyIsNamed) {
  EngineParts parts = fake::fake_parts(fake::omni_specs());
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

TEST_F(AsyncOmniEngineTest, AFailedLoadIsNamedWithItsCause) {
  EngineParts parts = fake::fake_parts(fake::omni_specs());
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

TEST_F(AsyncOmniEngineTest, ManyCallersGetTheirOwnTokens) {
  start();
  const auto graph = StageGraph::build(fake::omni_specs()).value();
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&, c] {
      for (int i = 0; i < 10; ++i) {
        AddRequest mine = request("c" + std::to_string(c) + "-" + std::to_string(i), 7);
        mine.queue_timeout_s = 30;
        ASSERT_TRUE(engine_->add_request(std::move(mine)).ok());
      }
    });
  }
  for (int c = 0; c < 4; ++c) {
    for (int i = 0; i < 10; ++i) {
      const Seen& seen = read_until_end("c" + std::to_string(c) + "-" + std::to_string(i));
      EXPECT_EQ(seen.tokens.at(0).size(), 7u);
      EXPECT_EQ(seen.tokens.at(2).size(), 7u);
    }
  }
  for (auto& caller : callers) caller.join();
}

double process_cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

TEST_F(AsyncOmniEngineTest, AnIdleEngineUsesNoCpu) {
  start();
  ASSERT_TRUE(engine_->add_request(request("a", 5)).ok());
  read_until_end("a");
  const double before = process_cpu_seconds();
  // A reader that waits is part of an idle engine.
  EXPECT_FALSE(engine_->try_get_output(1.0).value());
  EXPECT_LT(process_cpu_seconds() - before, 0.01) << "1 % of a core over a second";
}

}  // namespace
}  // namespace tutti
