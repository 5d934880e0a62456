#include "models/qwen3_omni_moe/decoder_stack.h"

#include "models/qwen3_omni_moe/weight_map.h"
#include "ops/elementwise.h"

namespace tutti::qwen3_omni_moe {

void DecoderStack::forward(OpContext& ctx, const Tensor& x, const Tensor& positions,
                           const ops::PagedBatch& paged, std::span<const KvLayer> kv,
                           AfterLayer after) const {
  Workspace::Scope scratch(ctx.workspace);
  const RotaryAngles angles = rotary.angles(ctx, positions);
  after(0, x);
  for (size_t i = 0; i < layers.size(); ++i) {
    layers[i].forward(ctx, x, angles, paged, {kv[i].k, kv[i].v});
    after(i + 1, x);
  }
}

DecoderStack load_decoder_stack(WeightLoader& weights, const std::string& prefix,
                                const DecoderConfig& config) {
  DecoderStack stack;
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    stack.layers.push_back(load_decoder_layer(weights, prefix + ".layers.", i, config));
  }
  stack.norm = load_norm(weights, prefix + ".norm.weight", config.hidden_size, config.rms_norm_eps);
  stack.rotary = RotaryTable(config.head_dim, config.rope.theta, config.rope.mrope_section);
  return stack;
}

Tensor batch_positions(OpContext& ctx, const ArBatch& batch,
                       FunctionRef<const RopeIndex&(const ArSequence&)> rope_of) {
  const Tensor positions = ctx.workspace.tensor({3, batch.num_tokens});
  auto* out = positions.data<float>();
  int64_t row = 0;
  for (const ArBatchItem& item : batch.items) {
    const RopeIndex& rope = rope_of(*item.sequence);
    for (int64_t i = 0; i < item.count; ++i, ++row) {
      for (int axis = 0; axis < 3; ++axis) {
        out[axis * batch.num_tokens + row] = rope.at(axis, item.start + i);
      }
    }
  }
  return positions;
}

Tensor gather_sample_rows(OpContext& ctx, const ArBatch& batch, const Tensor& x) {
  const Tensor out = ctx.workspace.tensor({batch.num_samples, x.cols()});
  Workspace::Scope scratch(ctx.workspace);
  const Tensor index = ctx.workspace.tensor({batch.num_samples}, DType::kI32);
  int64_t row = 0;
  for (const ArBatchItem& item : batch.items) {
    row += item.count;
    if (item.samples) index.data<int32_t>()[item.sample_row] = static_cast<int32_t>(row - 1);
  }
  ops::gather_rows(ctx, x, index, out);
  return out;
}

ArModelInfo decoder_info(const DecoderConfig& config, DType kv_dtype) {
  ArModelInfo info;
  info.vocab_size = config.vocab_size;
  info.num_layers = config.num_hidden_layers;
  info.num_key_value_heads = config.num_key_value_heads;
  info.head_dim = config.head_dim;
  info.max_model_len = config.max_position_embeddings;
  info.kv_dtype = kv_dtype;
  return info;
}

}  // namespace tutti::qwen3_omni_moe
