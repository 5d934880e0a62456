// What `sleep` gives back, with the bundled model: the KV caches' memory (level 1), the weights'
// too (level 2); and after `wake_up` the answers are what they were.
#include <gtest/gtest.h>
#include <malloc.h>

#include <fstream>
#include <string>
#include <vector>

#include "tutti/async_omni_engine.h"

namespace tutti {
namespace {

constexpr int kRequests = 8;
constexpr int kPromptTokens = 400;
// Keys and values of the thinker's 6 layers, 2 heads of 64 bf16 values.
constexpr int64_t kTouchedBytes = int64_t{kRequests} * kPromptTokens * 6 * 2 * 2 * 64 * 2;
constexpr int64_t kWeightBytes = 59'000'000;

// Resident memory of this process in bytes, as the operating system counts it.
int64_t resident_bytes() {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("VmRSS:")) return 1024 * std::stoll(line.substr(6));
  }
  return 0;
}

// Sanitizers keep what is freed for a while; the answers still count.
bool memory_comes_back() { return mallinfo2().arena > 0; }

class Sleep : public ::testing::Test {
 protected:
  void SetUp() override {
    EngineOptions options;
    options.max_num_seqs = kRequests;
    options.kv_cache_bytes = int64_t{64} << 20;
    options.enable_prefix_caching = false;
    auto engine = AsyncOmniEngine::create(TUTTI_SOURCE_DIR "/models/nano", options);
    ASSERT_TRUE(engine.ok()) << engine.error().message();
    engine_ = std::move(engine).value();
  }

  // Text of long prompts, which touch the KV cache, and samples of a short spoken answer.
  struct Answers {
    std::vector<int32_t> tokens;
    std::vector<float> samples;
    bool operator==(const Answers&) const = default;
  };
  Answers answers() {
    Answers all;
    for (int i = 0; i < kRequests; ++i) {
      AddRequest request;
      request.request_id = std::to_string(i);
      request.prompt = TokensPrompt{std::vector<int32_t>(kPromptTokens, 40 + i)};
      request.final_output_stage_ids = {0};
      submit(std::move(request), 4);
    }
    std::vector<std::vector<int32_t>> tokens(kRequests);
    for (int open = kRequests; open > 0;) {
      const OutputMessage output = next();
      auto& own = tokens[std::stoul(output.request_id)];
      own.insert(own.end(), output.output.token_ids.begin(), output.output.token_ids.end());
      open -= output.finished;
    }
    for (const auto& own : tokens) all.tokens.insert(all.tokens.end(), own.begin(), own.end());

    AddRequest spoken;
    spoken.request_id = "spoken";
    spoken.prompt = ChatPrompt{.messages = {ChatMessage::text("user", "What colour is the sky?")}};
    submit(std::move(spoken), 12);
    for (bool finished = false; !finished;) {
      const OutputMessage output = next();
      const auto& samples = output.output.audio.samples;
      all.samples.insert(all.samples.end(), samples.begin(), samples.end());
      finished = output.finished;
    }
    EXPECT_FALSE(all.samples.empty());
    return all;
  }
  void submit(AddRequest request, int32_t tokens) {
    request.sampling_params_list = engine_->default_sampling_params_list();
    for (SamplingParams& params : request.sampling_params_list) params.seed = 5;
    request.sampling_params_list[0].max_tokens = tokens;
    const Status status = engine_->add_request(std::move(request));
    ASSERT_TRUE(status.ok()) << status.message();
  }
  OutputMessage next() {
    while (true) {
      auto message = engine_->try_get_output(60);
      if (!message || !*message) break;
      if (auto* output = std::get_if<OutputMessage>(&**message)) return std::move(*output);
      if (auto* error = std::get_if<ErrorMessage>(&**message)) {
        ADD_FAILURE() << error->error.message();
        break;
      }
    }
    ADD_FAILURE() << "no further output";
    OutputMessage end;
    end.request_id = "0";
    end.finished = true;
    return end;
  }
  void call(const std::string& method, const std::string& kwargs = "") {
    const auto results = engine_->collective_rpc(method, 60, "", kwargs);
    ASSERT_TRUE(results.ok()) << results.error().message();
    for (const RpcResult& result : *results) {
      EXPECT_TRUE(result.status.ok()) << result.status.message();
    }
  }

  std::unique_ptr<AsyncOmniEngine> engine_;
};

TEST_F(Sleep, GivesMemoryBackAndWakesUpTheSame) {
  const Answers before = answers();
  const int64_t awake = resident_bytes();
  call("sleep");
  const int64_t level1 = resident_bytes();
  call("wake_up");
  EXPECT_EQ(answers(), before);
  const int64_t again = resident_bytes();
  call("sleep", R"({"level": 2})");
  const int64_t level2 = resident_bytes();
  call("wake_up");
  EXPECT_EQ(answers(), before);
  if (!memory_comes_back()) return;
  EXPECT_LT(level1, awake - kTouchedBytes * 9 / 10);
  // The three shards are mapped or converted, and nothing of them stays.
  EXPECT_LT(level2, again - kTouchedBytes * 9 / 10 - kWeightBytes * 7 / 10);
}

}  // namespace
}  // namespace tutti
