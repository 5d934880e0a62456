// The guarantees of docs/api.md on the whole engine: with the bundled model where a model is
// needed, over fake stages where something has to go wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <time.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <stdexcept>
#include <thread>

#include "base/sanitizers.h"
#include "orchestrator/live_requests.h"
#include "orchestrator/testing/engine_fixture.h"
#include "weights/lora_test_util.h"

namespace tutti::fake {
namespace {

using ::testing::HasSubstr;

struct Heard {
  std::vector<int32_t> tokens;
  std::vector<float> samples;
  FinishReason finish_reason = FinishReason::kNone;
  std::vector<std::string> errors;
  int terminals = 0;
  bool after_end = false;
  bool operator==(const Heard&) const = default;
};

class Guarantees : public EngineFixture {
 protected:
  void start_nano(int32_t max_num_seqs = 8) {
    EngineOptions options;
    options.num_threads = 2;
    options.max_num_seqs = max_num_seqs;
    options.kv_cache_bytes = 4 << 20;
    // Guarantee 7 is about memory beyond the caches.
    options.enable_prefix_caching = false;
    options.mm_cache_bytes = 0;
    auto engine = AsyncOmniEngine::create(TUTTI_SOURCE_DIR "/models/nano", options);
    ASSERT_TRUE(engine) << engine.error().message();
    engine_ = std::move(engine).value();
  }
  AddRequest say(const std::string& id, const std::string& text, int32_t tokens,
                 const std::string& voice = {}) {
    AddRequest request;
    request.request_id = id;
    request.prompt = ChatPrompt{.messages = {ChatMessage::text("user", text)}};
    request.sampling_params_list = engine_->default_sampling_params_list();
    for (SamplingParams& params : request.sampling_params_list) params.seed = 7;
    request.sampling_params_list[0].max_tokens = tokens;
    request.sampling_params_list[1].max_tokens = 3 * tokens;
    request.voice = voice;
    return request;
  }
  void hear(const EngineMessage& message) {
    if (const auto* output = std::get_if<OutputMessage>(&message)) {
      Heard& heard = heard_[output->request_id];
      heard.after_end |= heard.terminals > 0;
      const StageOutputDelta& delta = output->output;
      if (output->stage_id == 0) {
        heard.tokens.insert(heard.tokens.end(), delta.token_ids.begin(), delta.token_ids.end());
      }
      const auto& samples = delta.audio.samples;
      heard.samples.insert(heard.samples.end(), samples.begin(), samples.end());
      heard.terminals += output->finished;
      if (output->finished) heard.finish_reason = delta.finish_reason;
    } else if (const auto* error = std::get_if<ErrorMessage>(&message)) {
      Heard& heard = heard_[error->request_id];
      heard.errors.push_back(error->error.message());
      ++heard.terminals;
    }
  }
  // Until `count` requests have ended; then nothing more comes.
  void hear_all(int count) {
    while (count > 0) {
      const auto message = engine_->try_get_output(120);
      ASSERT_TRUE(message && *message) << count << " requests have not ended";
      count -= ended_request(**message) != nullptr;
      hear(**message);
    }
    EXPECT_FALSE(engine_->try_get_output(0.01).value());
  }
  Heard alone(AddRequest request) {
    const std::string id = request.request_id;
    heard_.erase(id);
    EXPECT_TRUE(engine_->add_request(std::move(request)).ok());
    hear_all(1);
    return heard_[id];
  }
  std::map<std::string, Heard> heard_;
};

TEST_F(Guarantees, OneOutputsInOrderAndExactlyOneTerminalMessage) {
  start_nano();
  const Heard reference = alone(say("r", "Hello!", 12));
  EXPECT_GT(reference.samples.size(), 0u);
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(engine_->add_request(say("r" + std::to_string(i), "Hello!", 12)).ok());
  }
  ASSERT_TRUE(engine_->abort({"r1", "r4"}).ok());
  hear_all(6);
  for (int i = 0; i < 6; ++i) {
    const Heard& heard = heard_["r" + std::to_string(i)];
    EXPECT_EQ(heard.terminals, 1) << i;
    EXPECT_FALSE(heard.after_end) << i;
    if (i == 1 || i == 4) continue;
    EXPECT_EQ(heard, reference) << "the same seed, in order, whatever runs beside it: " << i;
  }
}

TEST_F(Guarantees, TwoRequestsAreNeverLostDuplicatedOrMixed) {
  start_nano();
  const std::vector<std::string> voices = engine_->voices();
  std::vector<AddRequest> requests;
  for (int i = 0; i < 6; ++i) {
    AddRequest request = say("r" + std::to_string(i), i % 2 ? "Hello!" : "What is two plus three?",
                             6 + i, voices[static_cast<size_t>(i) % voices.size()]);
    for (SamplingParams& params : request.sampling_params_list) params.seed = 100 + i;
    requests.push_back(std::move(request));
  }
  std::vector<Heard> expected;
  for (const AddRequest& request : requests) expected.push_back(alone(request));
  heard_.clear();
  for (const AddRequest& request : requests) ASSERT_TRUE(engine_->add_request(request).ok());
  hear_all(6);
  ASSERT_EQ(heard_.size(), requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(heard_[requests[i].request_id], expected[i]) << i;
  }
}

// Every request sees its own picture, or hears its own sound, through its own adapter.
TEST_F(Guarantees, TwoMediaAndAdaptersAreNeverMixed) {
  start_nano();
  const tutti::testing::TempFolder folders[2];
  for (int a = 0; a < 2; ++a) {
    tutti::testing::NamedTensors tensors;
    Tensor in = Tensor::zeros({1, 256}), out = Tensor::zeros({256, 1});
    for (int64_t i = 0; i < 256; ++i) {
      in.data<float>()[i] = i % 3 == a ? 1.0f : -0.5f;
      out.data<float>()[i] = i % 2 == a ? 1.0f : -1.0f;
    }
    tutti::testing::add_module(tensors, "thinker.model.layers.0.self_attn.o_proj", in, out);
    tutti::testing::write_adapter(folders[a], tutti::testing::peft_config(1, 8), tensors);
  }
  const std::pair<MediaKind, const char*> media[] = {{MediaKind::kImage, "photo_97x61.png"},
                                                     {MediaKind::kImage, "photo_211x130.jpg"},
                                                     {MediaKind::kAudio, "speech_short_16k.wav"}};
  std::vector<AddRequest> requests;
  for (const auto& [kind, file] : media) {
    for (int adapter = 0; adapter < 3; ++adapter) {
      AddRequest one = say(std::string(file) + std::to_string(adapter), "What is it?", 8);
      one.final_output_stage_ids = {0};
      auto& message = std::get<ChatPrompt>(one.prompt).messages.front();
      const std::string path = std::string(TUTTI_TEST_DATA "/goldens/media/") + file;
      message.content.insert(message.content.begin(), {"", MediaItem::file(kind, path)});
      if (adapter > 0) {
        one.lora_request =
            LoraRequest{"adapter" + std::to_string(adapter), folders[adapter - 1].path().string()};
      }
      requests.push_back(std::move(one));
    }
  }
  std::map<std::string, Heard> expected;
  std::set<std::vector<int32_t>> answers;
  for (const AddRequest& request : requests) {
    expected[request.request_id] = alone(request);
    answers.insert(expected[request.request_id].tokens);
  }
  EXPECT_GE(answers.size(), 6u) << "mixed ones would not show";
  heard_.clear();
  for (const AddRequest& request : requests) ASSERT_TRUE(engine_->add_request(request).ok());
  hear_all(static_cast<int>(requests.size()));
  EXPECT_EQ(heard_, expected);
}

TEST_F(Guarantees, ThreeAnyExceptionBecomesAnErrorOfItsRequest) {
  for (int32_t stage = 0; stage < 3; ++stage) {
    for (const Fault fault : {Fault::kAdmitThrow, Fault::kAppendThrow, Fault::kStepError}) {
      if (stage == 0 && fault == Fault::kAppendThrow) continue;  // it takes no chunks
      heard_.clear();
      std::vector<FakeOptions> stages(3);
      stages[stage].fault = [fault](RequestKey key, int32_t) {
        return key.value == 1 ? fault : Fault::kNone;
      };
      start(stages);
      ASSERT_TRUE(engine_->add_request(request("bad", 30)).ok());
      ASSERT_TRUE(engine_->add_request(request("good", 5)).ok());
      hear_all(2);
      EXPECT_EQ(heard_["bad"].errors.size(), 1u) << "stage " << stage;
      EXPECT_EQ(heard_["good"].tokens.size(), 5u) << "stage " << stage;
      EXPECT_TRUE(engine_->is_alive());
    }
  }
}

// Dies in its first life when it is given a request named so.
class Mortal final : public StageEngine {
 public:
  Mortal(std::unique_ptr<StageEngine> inner, std::shared_ptr<std::atomic<int>> deaths)
      : inner_(std::move(inner)), deaths_(std::move(deaths)) {}
  Status admit(StageRequest request) override {
    dies_ |= request.request_id == "killer" && deaths_->load() == 0;
    return inner_->admit(std::move(request));
  }
  void append(StageChunk chunk) override { inner_->append(std::move(chunk)); }
  std::optional<StageOutput> abort(RequestKey key) override { return inner_->abort(key); }
  bool has_runnable_work() const override { return inner_->has_runnable_work(); }
  void step(std::vector<StageOutput>& outputs) override {
    if (dies_) {
      ++*deaths_;
      throw std::runtime_error("heart failure");
    }
    inner_->step(outputs);
  }
  EngineStats stats() const override { return inner_->stats(); }

 private:
  const std::unique_ptr<StageEngine> inner_;
  const std::shared_ptr<std::atomic<int>> deaths_;
  bool dies_ = false;
};

TEST_F(Guarantees, FourADeathRetriesWhatHadDeliveredNothingAndTheReplicaStartsAgain) {
  const auto deaths = std::make_shared<std::atomic<int>>(0);
  EngineParts parts = fake_parts(omni_specs());
  parts.stages[0].load = [load = parts.stages[0].load, deaths](const ReportProgress& report) {
    Result<LoadedStage> loaded = load(report);
    loaded->engine = std::make_unique<Mortal>(std::move(loaded->engine), deaths);
    return loaded;
  };
  start_parts(std::move(parts));
  ASSERT_TRUE(engine_->add_request(request("killer", 5)).ok());
  hear_all(1);
  EXPECT_EQ(*deaths, 1);
  EXPECT_EQ(heard_["killer"].tokens.size(), 5u) << "begun again";
  EXPECT_EQ(engine_->stats().retried, 1);
  EXPECT_TRUE(engine_->is_alive());
  ASSERT_TRUE(engine_->add_request(request("next", 5)).ok());
  hear_all(1);
  EXPECT_EQ(heard_["next"].tokens.size(), 5u);
}

TEST_F(Guarantees, FourADeathFailsWhatHadDeliveredAndNothingElse) {
  const auto deaths = std::make_shared<std::atomic<int>>(0);
  EngineParts parts = fake_parts(omni_specs());
  parts.stages[2].load = [load = parts.stages[2].load, deaths](const ReportProgress& report) {
    Result<LoadedStage> loaded = load(report);
    loaded->engine = std::make_unique<Mortal>(std::move(loaded->engine), deaths);
    return loaded;
  };
  start_parts(std::move(parts));
  // Text has been delivered before the vocoder gets its first chunk.
  ASSERT_TRUE(engine_->add_request(request("killer", 5)).ok());
  ASSERT_TRUE(engine_->add_request(request("text", 5, {0})).ok());
  hear_all(2);
  ASSERT_EQ(heard_["killer"].errors.size(), 1u);
  EXPECT_THAT(heard_["killer"].errors[0], HasSubstr("stage 2 (code2wav)"));
  EXPECT_EQ(heard_["text"].tokens.size(), 5u);
  EXPECT_EQ(engine_->stats().retried, 0);
}

TEST_F(Guarantees, FiveAnIdleEngineUsesNoCpu) {
  start_nano();
  alone(say("r", "Hello!", 4));
  const auto cpu_s = [] {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  };
  const double before = cpu_s();
  EXPECT_FALSE(engine_->try_get_output(1.0).value());
  EXPECT_LT(cpu_s() - before, 0.01) << "1 % of a core over a second";
}

// What nobody reads is bounded, and nothing that was accepted is lost.
TEST_F(Guarantees, TwoACallerWhoDoesNotReadIsRefusedAndLosesNothing) {
  EngineOptions options;
  options.output_queue_size = 4;
  options.request_queue_size = 4;
  options.max_live_requests = 4;
  start({}, options);
  std::vector<std::string> accepted;
  Status refused;
  for (int i = 0; i < 2000; ++i) {
    AddRequest one = request("r" + std::to_string(i), 2, {0});
    one.queue_timeout_s = refused.ok() ? 2.0 : 0.0;
    const Status status = engine_->add_request(std::move(one));
    if (status.ok()) {
      accepted.push_back("r" + std::to_string(i));
      // Ends in the queue, or wherever it is.
      if (i % 3 == 0) ASSERT_TRUE(engine_->abort({accepted.back()}).ok());
    } else {
      refused = status;
    }
  }
  EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
  EXPECT_GT(refused.retry_after_s(), 0);
  // Both queues, what is in progress, as many unread ones, and those that were aborted in the
  // queue.
  EXPECT_LE(accepted.size(), 4u + 4u + 4u + 4u + 8u);
  hear_all(static_cast<int>(accepted.size()));
  for (const std::string& id : accepted) EXPECT_EQ(heard_[id].terminals, 1) << id;
  ASSERT_TRUE(engine_->add_request(request("next", 2, {0})).ok());
  hear_all(1);
}

int64_t resident_bytes() {
  malloc_trim(0);
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST_F(Guarantees, SevenMemoryAfterTheLastRequestIsMemoryBeforeTheFirst) {
  start_nano();
  int next = 0;
  const auto round = [&] {
    for (int i = 0; i < 8; ++i) {
      ASSERT_TRUE(engine_->add_request(say("r" + std::to_string(next++), "Hello!", 8)).ok());
    }
    ASSERT_TRUE(engine_->abort({"r" + std::to_string(next - 1)}).ok());
    hear_all(8);
    heard_.clear();
  };
  // Scratch memory, the KV cache and the threads' heaps take pages when these are first touched,
  // and keep them: rounds take less and less. 8 KB that a request left behind would be 64 KB a
  // round, for ever.
  constexpr int64_t kStill = int64_t{64} << 10;
  constexpr int kMostRounds = 24;
  int still = 0;
  int64_t before = resident_bytes();
  for (int i = 0; i < kMostRounds && still < 3; ++i) {
    round();
    const int64_t after = resident_bytes();
    still = after - before < kStill ? still + 1 : 0;
    before = after;
  }
  // What sanitizers remember is resident too, and grows as it likes.
  if (!TUTTI_SANITIZED)
    EXPECT_EQ(still, 3) << "memory still grows after " << kMostRounds << " rounds of 8 requests";
  const OmniStats stats = engine_->stats();
  EXPECT_EQ(stats.accepted, stats.finished + stats.aborted);
  EXPECT_EQ(stats.live_requests, 0);
  for (const QueueInfo& queue : stats.queues) EXPECT_EQ(queue.size, 0) << queue.name;
  for (const StagePoolInfo& pool : stats.pools) {
    for (const ReplicaInfo& replica : pool.replicas) {
      EXPECT_EQ(replica.outstanding, 0) << pool.stage_id;
      EXPECT_EQ(replica.running + replica.waiting + replica.blocked, 0) << pool.stage_id;
      EXPECT_EQ(replica.kv_blocks_used, 0) << pool.stage_id;
    }
  }
}

}  // namespace
}  // namespace tutti::fake
