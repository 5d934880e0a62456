// DecoderLayer: the pre-norm transformer layer that Qwen-style decoders stack.
//
// Thread: immutable; any thread.
#pragma once

#include <variant>

#include "layers/attention.h"
#include "layers/mlp.h"

namespace tutti {

struct DecoderLayer {
  RmsNorm input_norm;
  SelfAttention attention;
  RmsNorm post_attention_norm;
  std::variant<GatedMlp, MoeBlock> mlp;

  // x [T, hidden] in place: x += attention(norm(x)); x += mlp(norm(x)).
  void forward(OpContext& ctx, const Tensor& x, const RotaryAngles& angles,
               const ops::PagedBatch& batch, const ops::KvCacheView& cache) const;
};

}  // namespace tutti
