#include "models/qwen3_omni_moe/code_predictor.h"

#include <algorithm>
#include <cstring>

#include "base/random.h"
#include "models/qwen3_omni_moe/weight_map.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"

namespace tutti::qwen3_omni_moe {

namespace {

// The reference samples residual codes so, whatever the talker's own parameters.
constexpr ops::SampleParams kSampled{.temperature = 1.0f, .top_k = 50, .top_p = 0.8f};
constexpr ops::SampleParams kGreedy{.temperature = 0.0f};

constexpr int64_t kBlockSize = 16;
// Streams of random numbers: the sampler of first codes uses others.
constexpr uint64_t kResidualStream = 0x7E51D0;

}  // namespace

CodePredictorWeights load_code_predictor(WeightLoader& loader, const TalkerConfig& config) {
  const std::string prefix = "talker.code_predictor.";
  const DecoderConfig& c = config.code_predictor;
  CodePredictorWeights w;
  w.stack = load_decoder_stack(loader, prefix + "model", c);
  const int64_t tables = config.num_code_groups - 1;
  for (int64_t g = 0; g < tables; ++g) {
    // One table of all groups, so that a frame's codes are looked up in one op.
    const std::string name = prefix + "model.codec_embedding." + std::to_string(g) + ".weight";
    const Tensor table = loader.finalize(name, loader.get_f32(name, {c.vocab_size, c.hidden_size}));
    if (table.defined()) {
      if (g == 0)
        w.embeddings = Tensor::empty({tables * c.vocab_size, c.hidden_size}, table.dtype());
      std::memcpy(w.embeddings.slice(g * c.vocab_size, (g + 1) * c.vocab_size).raw_data(),
                  table.raw_data(), table.bytes());
    }
    w.heads.push_back(load_linear(loader, prefix + "lm_head." + std::to_string(g), c.vocab_size,
                                  c.hidden_size, false));
  }
  return w;
}

CodePredictor::CodePredictor(const TalkerConfig& config, CodePredictorWeights weights)
    : groups_(config.num_code_groups),
      codebook_(config.code_predictor.vocab_size),
      decoder_(config.code_predictor),
      weights_(std::move(weights)) {
  kv_.resize(weights_.stack.layers.size());
}

// A private paged cache: sequence s owns blocks [s * blocks, (s + 1) * blocks).
struct CodePredictor::Paging {
  int64_t sequences;
  int64_t blocks;
  Tensor query_start;
  Tensor kv_lengths;
  Tensor block_tables;
  Tensor slots;
  Tensor positions;

  Paging(OpContext& ctx, int64_t sequences_in, int64_t length)
      : sequences(sequences_in), blocks((length + kBlockSize - 1) / kBlockSize) {
    Workspace& w = ctx.workspace;
    query_start = w.tensor({sequences + 1}, DType::kI32);
    kv_lengths = w.tensor({sequences}, DType::kI32);
    block_tables = w.tensor({sequences, blocks}, DType::kI32);
    slots = w.tensor({2 * sequences}, DType::kI32);
    positions = w.tensor({1, 2 * sequences});
    for (int64_t i = 0; i < sequences * blocks; ++i) {
      block_tables.data<int32_t>()[i] = static_cast<int32_t>(i);
    }
  }

  // Every sequence computes `count` positions from `start`.
  ops::PagedBatch step(int64_t start, int64_t count) {
    query_start.data<int32_t>()[0] = 0;
    for (int64_t s = 0; s < sequences; ++s) {
      query_start.data<int32_t>()[s + 1] = static_cast<int32_t>((s + 1) * count);
      kv_lengths.data<int32_t>()[s] = static_cast<int32_t>(start + count);
      for (int64_t i = 0; i < count; ++i) {
        slots.data<int32_t>()[s * count + i] =
            static_cast<int32_t>(s * blocks * kBlockSize + start + i);
        positions.data<float>()[s * count + i] = static_cast<float>(start + i);
      }
    }
    step_slots_ = slots.slice(0, sequences * count);
    return {query_start, kv_lengths, block_tables, step_slots_, sequences, count, start + count};
  }
  Tensor step_positions(int64_t count) const { return positions.columns(0, sequences * count); }

 private:
  Tensor step_slots_;
};

void CodePredictor::predict(OpContext& ctx, const Tensor& hidden, const Tensor& first,
                            std::span<const Draw> draws, std::span<int32_t> codes) {
  Workspace::Scope scratch(ctx.workspace);
  const int64_t n = hidden.dim(0);
  Paging paging(ctx, n, groups_);
  const Shape cache{n * paging.blocks, decoder_.num_key_value_heads, kBlockSize, decoder_.head_dim};
  for (KvLayer& layer : kv_) layer = {ctx.workspace.tensor(cache), ctx.workspace.tensor(cache)};

  pair_lora_.clear();
  lora_.clear();
  for (const Draw& draw : draws) {
    pair_lora_.add(draw.lora, 2);
    lora_.add(draw.lora);
  }
  const Tensor ids = ctx.workspace.tensor({n}, DType::kI32);
  const Tensor rows = ctx.workspace.tensor({n, decoder_.hidden_size});
  for (int64_t g = 1; g < groups_; ++g) {
    Workspace::Scope step_scratch(ctx.workspace);
    const bool begins = g == 1;
    const int64_t count = begins ? 2 : 1;
    // Rows of a sequence lie together: [hidden, first code] at the beginning, then one code.
    const Tensor x = ctx.workspace.tensor({n * count, decoder_.hidden_size});
    if (begins) {
      const Tensor pairs = x.reshape({n, 2 * decoder_.hidden_size});
      ops::copy(ctx, hidden, pairs.columns(0, decoder_.hidden_size));
      ops::copy(ctx, first, pairs.columns(decoder_.hidden_size, 2 * decoder_.hidden_size));
      if (probe_) probe_("code_predictor.inputs_embeds", x);
    } else {
      const Tensor table = weights_.embeddings.slice((g - 2) * codebook_, (g - 1) * codebook_);
      ops::embedding(ctx, ids, table, x);
    }
    const ops::PagedBatch paged = paging.step(begins ? 0 : g, count);
    {
      const LoraScope lora(ctx, begins ? pair_lora_ : lora_);
      weights_.stack.forward(ctx, x, paging.step_positions(count), paged, kv_,
                             [](size_t, const Tensor&) {});
    }
    const Tensor last =
        x.reshape({n, count * decoder_.hidden_size})
            .columns((count - 1) * decoder_.hidden_size, count * decoder_.hidden_size);
    ops::copy(ctx, last, rows);
    weights_.stack.norm.forward(ctx, rows, rows);
    const LoraScope lora(ctx, lora_);
    const Tensor logits = weights_.heads[g - 1].forward(ctx, rows);
    if (probe_) probe_("code_predictor.logits", logits);
    sample(ctx, logits, draws, g, ids);
    // Results, not activations: the host hands them to the next stage and feeds them back.
    for (int64_t s = 0; s < n; ++s) codes[s * groups_ + g] = ids.data<int32_t>()[s];
  }
  std::ranges::fill(kv_, KvLayer{});  // the workspace owns that memory
}

void CodePredictor::sample(OpContext& ctx, const Tensor& logits, std::span<const Draw> draws,
                           int64_t group, const Tensor& ids) {
  Workspace::Scope scratch(ctx.workspace);
  const auto n = static_cast<int64_t>(draws.size());
  const Tensor uniform = ctx.workspace.tensor({n});
  params_.resize(draws.size());
  for (int64_t s = 0; s < n; ++s) {
    params_[s] = draws[s].greedy ? kGreedy : kSampled;
    uniform.data<float>()[s] = counter_uniform(
        draws[s].seed, kResidualStream + static_cast<uint64_t>(group), draws[s].step);
  }
  ops::sample(ctx, logits, params_, uniform, ids);
}

}  // namespace tutti::qwen3_omni_moe
