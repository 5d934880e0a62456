// The tiny Qwen3-Omni checkpoint through the engines, stage by stage: tokens, codes and samples of
// a request depend on itself alone, whatever the batch, the chunks, the memory and the hand-over.
#include <gtest/gtest.h>

#include <map>

#include "engine/payload.h"
#include "engine/stage_engine.h"
#include "models/pipeline.h"
#include "tiny_prompts.h"

namespace tutti {
namespace {

constexpr int32_t kThinker = 0;
constexpr int32_t kTalker = 1;
constexpr int32_t kCode2Wav = 2;
constexpr uint64_t kRequests = 6;

struct Produced {
  std::vector<int32_t> tokens;
  std::vector<float> samples;
  std::vector<StagePayload> chunks;  // for the next stage
  int ends = 0;
};
using AllProduced = std::map<uint64_t, Produced>;

void collect(const std::vector<StageOutput>& outputs, AllProduced& all) {
  for (const StageOutput& output : outputs) {
    EXPECT_TRUE(output.error.ok()) << output.error.message();
    Produced& produced = all[output.key.value];
    const StageOutputDelta& delta = output.delta;
    produced.tokens.insert(produced.tokens.end(), delta.token_ids.begin(), delta.token_ids.end());
    produced.samples.insert(produced.samples.end(), delta.audio.samples.begin(),
                            delta.audio.samples.end());
    if (!output.payload.empty()) produced.chunks.push_back(output.payload);
    produced.ends += output.finished ? 1 : 0;
  }
}

class Stages : public ::testing::Test {
 protected:
  void SetUp() override {
    load_.model_dir = tiny::checkpoint();
    auto opened = open_pipeline(load_);
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    pipeline_ = std::move(opened).value();
  }

  std::unique_ptr<StageEngine> engine(int32_t stage, const StageEngineOptions& options) {
    if (stage == kCode2Wav) {
      auto model = pipeline_->load_generation(stage, load_);
      EXPECT_TRUE(model.ok()) << model.error().message();
      return make_generation_engine(std::move(model).value(), *executor_, options);
    }
    auto model = pipeline_->load_ar(stage, load_);
    EXPECT_TRUE(model.ok()) << model.error().message();
    return make_ar_engine(std::move(model).value(),
                          stage == kThinker ? pipeline_->tokenizer() : nullptr, *executor_,
                          options);
  }

  // What stage `stage` is given for request `key`, without its input.
  StageRequest request(int32_t stage, uint64_t key) {
    StageRequest request;
    request.key = RequestKey(key);
    request.request_id = "r" + std::to_string(key);
    request.sampling_params =
        pipeline_->stages()[static_cast<size_t>(stage)].default_sampling_params;
    request.sampling_params.max_tokens = 12 + 3 * static_cast<int32_t>(key);
    request.sampling_params.ignore_eos = true;
    if (stage == kThinker) request.sampling_params.repetition_penalty = 1.1f;
    request.seed = 1000 + key;
    request.wants_payload = stage != kCode2Wav;
    return request;
  }
  StageInput prompt(uint64_t key) {
    std::string text = "<|im_start|>user\nWhich train crosses the old bridge";
    for (uint64_t i = 0; i < key; ++i) text += " in the morning";
    auto input =
        pipeline_->process_prompt(TextPrompt{text + "?<|im_end|>\n<|im_start|>assistant\n"});
    EXPECT_TRUE(input.ok()) << input.error().message();
    return std::move(input).value();
  }

  // All requests at once, each with its whole input.
  AllProduced run_whole(int32_t stage, const AllProduced* upstream, std::vector<uint64_t> keys,
                        const StageEngineOptions& options) {
    const auto stage_engine = engine(stage, options);
    for (const uint64_t key : keys) {
      StageRequest r = request(stage, key);
      if (upstream == nullptr) {
        r.input = prompt(key);
      } else {
        r.input.payload = join_payloads(upstream->at(key).chunks);
      }
      const Status status = stage_engine->admit(std::move(r));
      EXPECT_TRUE(status.ok()) << status.message();
    }
    AllProduced all;
    run_until_idle(*stage_engine, all);
    preemptions_ = stage_engine->stats().preemptions;
    EXPECT_EQ(stage_engine->stats().kv_blocks_used, 0);
    return all;
  }

  // Chunk after chunk, with steps between; requests join one after the other.
  AllProduced run_in_chunks(int32_t stage, const AllProduced& upstream) {
    const auto stage_engine = engine(stage, {});
    AllProduced all;
    size_t longest = 0;
    for (const auto& [key, produced] : upstream)
      longest = std::max(longest, produced.chunks.size());
    for (size_t turn = 0; turn < longest + kRequests; ++turn) {
      for (const auto& [key, produced] : upstream) {
        const auto at = static_cast<std::ptrdiff_t>(turn) - static_cast<std::ptrdiff_t>(key);
        const auto count = static_cast<std::ptrdiff_t>(produced.chunks.size());
        if (at < 0 || at >= count) continue;
        const StagePayload& payload = produced.chunks[static_cast<size_t>(at)];
        if (at == 0) {
          StageRequest r = request(stage, key);
          r.input.payload = payload;
          r.input.last = count == 1;
          EXPECT_TRUE(stage_engine->admit(std::move(r)).ok());
        } else {
          stage_engine->append({RequestKey(key), payload, at == count - 1});
        }
      }
      std::vector<StageOutput> outputs;
      if (stage_engine->has_runnable_work()) stage_engine->step(outputs);
      collect(outputs, all);
    }
    run_until_idle(*stage_engine, all);
    return all;
  }

  static void run_until_idle(StageEngine& stage_engine, AllProduced& all) {
    for (int i = 0; i < 5000 && stage_engine.has_runnable_work(); ++i) {
      std::vector<StageOutput> outputs;
      stage_engine.step(outputs);
      collect(outputs, all);
    }
  }

  static void expect_same(const AllProduced& expected, const AllProduced& found, const char* what) {
    for (const auto& [key, produced] : found) {
      SCOPED_TRACE(std::string(what) + ", request " + std::to_string(key));
      EXPECT_EQ(produced.ends, 1);
      EXPECT_EQ(produced.tokens, expected.at(key).tokens);
      EXPECT_EQ(produced.samples, expected.at(key).samples);
    }
  }
  // Every way to run an AR stage that must not change its tokens.
  void expect_invariant(int32_t stage, const AllProduced* upstream, const AllProduced& together,
                        int64_t few_blocks) {
    for (uint64_t key = 0; key < kRequests; key += 2)
      expect_same(together, run_whole(stage, upstream, {key}, {}), "alone");
    for (const int32_t tokens : {1, 7, 16}) {
      StageEngineOptions options;
      options.max_num_batched_tokens = tokens;
      expect_same(together, run_whole(stage, upstream, {1, 4}, options), "prompt in chunks");
    }
    StageEngineOptions options;
    options.block_size = 4;
    options.kv_cache_bytes = few_blocks * kv_bytes_per_block_of(stage, options.block_size);
    expect_same(together, run_whole(stage, upstream, keys(), options), "little memory");
    EXPECT_GT(preemptions_, 0);
  }
  int64_t kv_bytes_per_block_of(int32_t stage, int32_t block_size) {
    auto model = pipeline_->load_ar(stage, load_);
    const ArModelInfo& info = model.value()->info();
    return 2 * info.num_layers * info.num_key_value_heads * block_size * info.head_dim *
           static_cast<int64_t>(dtype_bytes(info.kv_dtype));
  }
  static std::vector<uint64_t> keys() {
    std::vector<uint64_t> all;
    for (uint64_t key = 0; key < kRequests; ++key) all.push_back(key);
    return all;
  }

  LoadOptions load_;
  std::unique_ptr<Pipeline> pipeline_;
  std::unique_ptr<DeviceExecutor> executor_ = DeviceExecutor::create_cpu(2);
  int64_t preemptions_ = 0;
};

TEST_F(Stages, ThinkerTokensDependOnTheRequestAlone) {
  const AllProduced together = run_whole(kThinker, nullptr, keys(), {});
  ASSERT_EQ(together.size(), kRequests);
  EXPECT_EQ(together.at(3).tokens.size(), 21u);
  EXPECT_NE(together.at(3).tokens, together.at(4).tokens);
  expect_invariant(kThinker, nullptr, together, 40);
}

TEST_F(Stages, SpeechDependsNeitherOnChunksNorOnNeighbours) {
  const AllProduced thought = run_whole(kThinker, nullptr, keys(), {});
  const AllProduced said = run_whole(kTalker, &thought, keys(), {});
  EXPECT_EQ(said.at(2).tokens.size(), 18u);
  EXPECT_NE(said.at(2).tokens, said.at(3).tokens);
  expect_invariant(kTalker, &thought, said, 30);
  const AllProduced streamed = run_in_chunks(kTalker, thought);
  ASSERT_EQ(streamed.size(), kRequests);
  expect_same(said, streamed, "in chunks");
  for (const uint64_t key : keys()) {
    const StagePayload whole = join_payloads(said.at(key).chunks);
    const StagePayload chunks = join_payloads(streamed.at(key).chunks);
    const Tensor& a = whole.tensors.at("codes");
    const Tensor& b = chunks.tensors.at("codes");
    ASSERT_EQ(a.shape(), b.shape());
    EXPECT_EQ(std::memcmp(a.raw_data(), b.raw_data(), a.bytes()), 0) << key;
  }

  const AllProduced heard = run_whole(kCode2Wav, &said, keys(), {});
  ASSERT_EQ(heard.size(), kRequests);
  EXPECT_GT(heard.at(0).samples.size(), 12u * 1000);
  expect_same(heard, run_in_chunks(kCode2Wav, said), "frame by frame");
  for (const uint64_t key : {0, 5})
    expect_same(heard, run_whole(kCode2Wav, &said, {key}, {}), "alone");
}

}  // namespace
}  // namespace tutti
