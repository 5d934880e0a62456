// DecoderStack: embedding rows in, hidden rows out; what thinker, talker and code predictor share.
//
// Thread: immutable after loading.
#pragma once

#include <vector>

#include "base/function_ref.h"
#include "layers/decoder_layer.h"
#include "models/ar_model.h"
#include "models/qwen3_omni_moe/config.h"
#include "models/rope_index.h"
#include "weights/weight_loader.h"

namespace tutti::qwen3_omni_moe {

struct DecoderStack {
  std::vector<DecoderLayer> layers;
  RmsNorm norm;
  RotaryTable rotary;

  using AfterLayer = FunctionRef<void(size_t layers_done, const Tensor& x)>;
  // Runs all layers on x [T, hidden] in place, without the final norm. `after` is called with 0
  // before the first layer, then after each.
  void forward(OpContext& ctx, const Tensor& x, const Tensor& positions,
               const ops::PagedBatch& paged, std::span<const KvLayer> kv, AfterLayer after) const;
};

// "prefix.layers.N..." and "prefix.norm.weight".
DecoderStack load_decoder_stack(WeightLoader& weights, const std::string& prefix,
                                const DecoderConfig& config);

// Rotary positions [3, T] of a batch's rows, in the workspace. rope_of(sequence) gives the index
// of an item's sequence.
Tensor batch_positions(OpContext& ctx, const ArBatch& batch,
                       FunctionRef<const RopeIndex&(const ArSequence&)> rope_of);

// The rows of x that are followed by sampling, [num_samples, hidden], in the workspace.
Tensor gather_sample_rows(OpContext& ctx, const ArBatch& batch, const Tensor& x);

// What a decoder stack needs of the KV cache.
ArModelInfo decoder_info(const DecoderConfig& config, DType kv_dtype);

}  // namespace tutti::qwen3_omni_moe
