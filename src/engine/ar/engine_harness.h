// EngineHarness: an AR engine over the fake model, and what every request has got from it. For
// tests.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <vector>

#include "engine/ar/ar_engine.h"
#include "engine/testing/fake_ar_model.h"
#include "engine/testing/fake_executor.h"

namespace tutti::ar {

// Of the golden checkpoint; null, and a failure of the test, when it cannot be read.
inline std::shared_ptr<const text::Tokenizer> golden_tokenizer() {
  auto loaded = text::Tokenizer::load(std::filesystem::path(TUTTI_TEST_DATA) /
                                      "goldens/qwen3_omni_moe/checkpoint");
  if (loaded.ok()) return *loaded;
  ADD_FAILURE() << loaded.error().message();
  return nullptr;
}

struct Collected {
  std::vector<int32_t> tokens;
  std::vector<int32_t> positions;  // that the payload told of
  std::vector<int32_t> codes;
  std::vector<int32_t> extras;
  std::vector<std::vector<TokenLogprob>> logprobs;
  std::vector<std::string> texts;
  std::string text;
  FinishReason reason = FinishReason::kNone;
  std::string stop_reason;
  Status error;
  int outputs = 0;
  int ends = 0;
  StageMetrics metrics;
};

inline void collect(const StageOutput& output, Collected& into) {
  EXPECT_EQ(into.ends, 0) << "an output after the last";
  ++into.outputs;
  into.ends += output.finished ? 1 : 0;
  const auto append = [](auto& all, const auto& more) {
    all.insert(all.end(), more.begin(), more.end());
  };
  append(into.tokens, output.delta.token_ids);
  append(into.positions, output.payload.token_ids);
  append(into.logprobs, output.delta.logprobs);
  const auto append_tensor = [&](const char* name, std::vector<int32_t>& all) {
    const auto found = output.payload.tensors.find(name);
    if (found == output.payload.tensors.end()) return;
    const int32_t* data = found->second.data<int32_t>();
    all.insert(all.end(), data, data + found->second.num_elements());
  };
  append_tensor("codes", into.codes);
  append_tensor("extras", into.extras);
  into.texts.push_back(output.delta.text);
  into.text += output.delta.text;
  into.reason = output.delta.finish_reason;
  into.stop_reason = output.delta.stop_reason;
  into.error = output.error;
  into.metrics = output.metrics;
}

inline std::vector<int32_t> prompt_ids(int32_t seed, int32_t length) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < length; ++i) ids.push_back((seed * 31 + i * 7) % 97);
  return ids;
}

inline StageRequest make_request(uint64_t key, std::vector<int32_t> prompt,
                                 const SamplingParams& params) {
  StageRequest request;
  request.key = RequestKey(key);
  request.request_id = "r" + std::to_string(key);
  request.input.payload.token_ids = std::move(prompt);
  request.sampling_params = params;
  request.seed = params.seed.value_or(key);
  return request;
}

class EngineHarness {
 public:
  explicit EngineHarness(testing::FakeArOptions model_options = {}, StageEngineOptions options = {},
                         std::shared_ptr<const text::Tokenizer> tokenizer = nullptr) {
    auto owned = std::make_unique<testing::FakeArModel>(std::move(model_options));
    model = owned.get();
    engine = std::make_unique<ArEngine>(std::move(owned), std::move(tokenizer), executor, options);
  }

  void append(uint64_t key, std::vector<int32_t> ids, bool last) {
    StageChunk chunk;
    chunk.key = RequestKey(key);
    chunk.payload.token_ids = std::move(ids);
    chunk.last = last;
    engine->append(std::move(chunk));
  }
  void step() {
    std::vector<StageOutput> outputs;
    engine->step(outputs);
    for (const StageOutput& output : outputs) collect(output, results[output.key.value]);
  }
  // Steps while there is work; fails when that never ends.
  void run_until_idle(int max_steps = 20000) {
    int steps = 0;
    for (; engine->has_runnable_work() && steps < max_steps; ++steps) step();
    EXPECT_LT(steps, max_steps) << "the engine never comes to rest";
  }
  void expect_all_memory_free() const {
    EXPECT_EQ(engine->stats().kv_blocks_used, 0);
    EXPECT_EQ(engine->stats().running + engine->stats().waiting, 0);
    EXPECT_EQ(model->num_sequences_alive, 0);
  }

  testing::FakeExecutor executor;
  testing::FakeArModel* model = nullptr;
  std::unique_ptr<ArEngine> engine;
  std::map<uint64_t, Collected> results;
};

// KV memory for `blocks` blocks of the fake model.
inline StageEngineOptions small_options(int64_t blocks, int32_t block_size = 4) {
  StageEngineOptions options;
  options.block_size = block_size;
  options.kv_cache_bytes = blocks * kv_bytes_per_block(testing::FakeArModel({}).info(), block_size);
  return options;
}

}  // namespace tutti::ar
