// The prefix cache with the tiny Qwen3-Omni checkpoint: text, picture and sound prompts whose
// prefix is known give the same tokens, payload, codes and samples, and run no encoder.
#include <gtest/gtest.h>

#include <cstring>

#include "engine/payload.h"
#include "engine/stage_engine.h"
#include "models/pipeline.h"
#include "tiny_prompts.h"

namespace tutti {
namespace {

constexpr int32_t kThinker = 0;
constexpr int32_t kTalker = 1;
constexpr int32_t kCode2Wav = 2;

struct Produced {
  std::vector<int32_t> tokens;
  std::vector<float> samples;
  std::vector<StagePayload> chunks;
  StageMetrics metrics;
};

void expect_equal(const StagePayload& a, const StagePayload& b) {
  EXPECT_EQ(a.token_ids, b.token_ids);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, tensor] : a.tensors) {
    ASSERT_TRUE(b.tensors.contains(name)) << name;
    const Tensor& other = b.tensors.at(name);
    ASSERT_EQ(tensor.shape(), other.shape()) << name;
    EXPECT_EQ(std::memcmp(tensor.raw_data(), other.raw_data(), tensor.bytes()), 0) << name;
  }
}

class PrefixCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    load_.model_dir = tiny::checkpoint();
    auto opened = open_pipeline(load_);
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    pipeline_ = std::move(opened).value();
  }
  std::unique_ptr<StageEngine> engine(int32_t stage, bool cached, int64_t kv_blocks = 0) {
    StageEngineOptions options;
    options.enable_prefix_caching = cached;
    if (stage == kCode2Wav) {
      auto model = pipeline_->load_generation(stage, load_);
      EXPECT_TRUE(model.ok()) << model.error().message();
      return make_generation_engine(std::move(model).value(), *executor_, options);
    }
    auto model = std::move(pipeline_->load_ar(stage, load_)).value();
    const ArModelInfo& info = model->info();
    if (kv_blocks > 0) {
      options.kv_cache_bytes = kv_blocks * 2 * info.num_layers * info.num_key_value_heads *
                               options.block_size * info.head_dim *
                               static_cast<int64_t>(dtype_bytes(info.kv_dtype));
    }
    model->set_probe([this](std::string_view name, const Tensor&) {
      if (name.starts_with("audio.") || name.starts_with("image.")) ++encoder_calls_;
    });
    return make_ar_engine(std::move(model), nullptr, *executor_, options);
  }
  StageInput chat(std::vector<ContentPart> parts) const {
    return tiny::chat(*pipeline_, std::move(parts));
  }
  // Prompts that are worth caching: media first, then some words.
  std::vector<StageInput> inputs() const {
    const ContentPart words{
        "Which train crosses the old bridge in the morning, and which one stays?", std::nullopt};
    return {chat({words}), chat({tiny::media(MediaKind::kImage, "photo_97x61.png"), words}),
            chat({tiny::media(MediaKind::kAudio, "speech_short_16k.wav"), words})};
  }
  StageRequest request(int32_t stage, StageInput input) {
    StageRequest request;
    request.key = RequestKey(next_key_++);
    request.sampling_params =
        pipeline_->stages()[static_cast<size_t>(stage)].default_sampling_params;
    request.sampling_params.max_tokens = 24;
    request.sampling_params.ignore_eos = true;
    request.seed = 77;
    request.wants_payload = stage != kCode2Wav;
    request.input = std::move(input);
    return request;
  }
  // All at once, in the order given.
  std::vector<Produced> run_all(StageEngine& stage_engine, int32_t stage,
                                std::vector<StageInput> all) {
    std::map<uint64_t, Produced> produced;
    for (StageInput& input : all) {
      StageRequest r = request(stage, std::move(input));
      produced[r.key.value] = {};
      const Status status = stage_engine.admit(std::move(r));
      EXPECT_TRUE(status.ok()) << status.message();
    }
    for (int i = 0; i < 5000 && stage_engine.has_runnable_work(); ++i) {
      std::vector<StageOutput> outputs;
      stage_engine.step(outputs);
      for (const StageOutput& output : outputs) take(output, produced[output.key.value]);
    }
    EXPECT_EQ(stage_engine.stats().kv_blocks_used, 0);
    std::vector<Produced> in_order;
    for (auto& [key, one] : produced) in_order.push_back(std::move(one));
    return in_order;
  }
  Produced run(StageEngine& stage_engine, int32_t stage, StageInput input) {
    return run_all(stage_engine, stage, {std::move(input)}).front();
  }
  static void take(const StageOutput& output, Produced& into) {
    EXPECT_TRUE(output.error.ok()) << output.error.message();
    const StageOutputDelta& delta = output.delta;
    into.tokens.insert(into.tokens.end(), delta.token_ids.begin(), delta.token_ids.end());
    into.samples.insert(into.samples.end(), delta.audio.samples.begin(), delta.audio.samples.end());
    if (!output.payload.empty()) into.chunks.push_back(output.payload);
    into.metrics = output.metrics;
  }
  static void expect_same(const Produced& a, const Produced& b) {
    EXPECT_EQ(a.tokens, b.tokens);
    expect_equal(join_payloads(a.chunks), join_payloads(b.chunks));
  }
  Produced next_stage(int32_t stage, const Produced& upstream) {
    StageInput input;
    input.payload = join_payloads(upstream.chunks);
    return run(*engine(stage, true), stage, std::move(input));
  }
  // The prompt, its answer and a further question, with the same media.
  StageInput next_turn(StageInput input, const Produced& answer) const {
    auto more = pipeline_->process_prompt(
        TextPrompt{"<|im_end|>\n<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n"});
    auto& ids = input.payload.token_ids;
    ids.insert(ids.end(), answer.tokens.begin(), answer.tokens.end());
    ids.insert(ids.end(), more->payload.token_ids.begin(), more->payload.token_ids.end());
    return input;
  }

  LoadOptions load_;
  std::unique_ptr<Pipeline> pipeline_;
  std::unique_ptr<DeviceExecutor> executor_ = DeviceExecutor::create_cpu(2);
  uint64_t next_key_ = 0;
  int encoder_calls_ = 0;
};

TEST_F(PrefixCacheTest, ASecondRequestAndALaterTurnGiveTheSameSpeech) {
  const auto plain = engine(kThinker, false);
  const auto cached = engine(kThinker, true);
  for (const StageInput& input : inputs()) {
    const Produced expected = run(*plain, kThinker, input);
    expect_same(expected, run(*cached, kThinker, input));
    cached->reset_mm_cache();
    encoder_calls_ = 0;
    const Produced again = run(*cached, kThinker, input);
    const auto length = static_cast<int64_t>(input.payload.token_ids.size());
    EXPECT_EQ(again.metrics.cached_tokens, (length - 1) / 16 * 16);
    EXPECT_GE(again.metrics.cached_tokens, 16);
    const bool has_media = input.payload.tensors.contains("media.shapes");
    EXPECT_EQ(join_payloads(again.chunks).tensors.contains("hidden"), has_media);
    EXPECT_EQ(encoder_calls_, 0);
    expect_same(expected, again);

    const Produced spoken = next_stage(kTalker, expected);
    const Produced spoken_again = next_stage(kTalker, again);
    expect_same(spoken, spoken_again);
    EXPECT_EQ(next_stage(kCode2Wav, spoken).samples, next_stage(kCode2Wav, spoken_again).samples);

    const StageInput turn = next_turn(input, expected);
    const Produced expected_turn = run(*plain, kThinker, turn);
    const Produced cached_turn = run(*cached, kThinker, turn);
    // The answer's last token had no position.
    EXPECT_EQ(cached_turn.metrics.cached_tokens, (length + 23) / 16 * 16);
    EXPECT_EQ(encoder_calls_, 0);
    expect_same(expected_turn, cached_turn);
  }
  EXPECT_EQ(plain->stats().prefix_query_tokens, 0);
  EXPECT_GT(cached->stats().prefix_hit_tokens, 0);
}

TEST_F(PrefixCacheTest, AnotherPictureOfTheSameSizeIsAnotherPrefix) {
  const StageInput one = inputs()[1];
  StageInput other = one;
  Tensor features = other.payload.tensors.at("media.features.0").clone();
  for (int64_t i = 0; i < features.num_elements(); ++i) features.data<float>()[i] *= -1;
  Tensor hashes = other.payload.tensors.at("media.hashes").clone();
  hashes.data<int32_t>()[0] ^= 1;
  other.payload.tensors["media.features.0"] = features;
  other.payload.tensors["media.hashes"] = hashes;

  const auto cached = engine(kThinker, true);
  run(*cached, kThinker, one);
  const Produced produced = run(*cached, kThinker, other);
  EXPECT_LT(produced.metrics.cached_tokens, 16);  // no block is full before the picture begins
  expect_same(run(*engine(kThinker, false), kThinker, other), produced);
}

TEST_F(PrefixCacheTest, EvictionAndPreemptionChangeNothing) {
  const auto plain = engine(kThinker, false);
  std::vector<StageInput> all;
  std::vector<Produced> expected;
  for (const StageInput& input : inputs()) {
    const Produced first = run(*plain, kThinker, input);
    all.push_back(input);
    expected.push_back(first);
    all.push_back(next_turn(input, first));
    expected.push_back(run(*plain, kThinker, all.back()));
  }
  const auto little = engine(kThinker, true, 14);
  for (int round = 0; round < 3; ++round) {
    const std::vector<Produced> found = run_all(*little, kThinker, all);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      SCOPED_TRACE(i);
      expect_same(expected[i], found[i]);
    }
  }
  EXPECT_GT(little->stats().preemptions, 0);
  EXPECT_GT(little->stats().prefix_hit_tokens, 0);
}

}  // namespace
}  // namespace tutti
