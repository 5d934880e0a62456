#include "layers/decoder_layer.h"

#include "ops/elementwise.h"

namespace tutti {

void DecoderLayer::forward(OpContext& ctx, const Tensor& x, const RotaryAngles& angles,
                           const ops::PagedBatch& batch, const ops::KvCacheView& cache) const {
  Workspace::Scope scratch(ctx.workspace);
  const Tensor normed = ctx.workspace.tensor(x.shape());
  input_norm.forward(ctx, x, normed);
  attention.forward(ctx, normed, angles, batch, cache, x);
  post_attention_norm.forward(ctx, x, normed);
  if (const auto* dense = std::get_if<GatedMlp>(&mlp)) {
    dense->forward(ctx, normed, x, {.residual = &x});
  } else {
    const Tensor out = ctx.workspace.tensor(x.shape());
    std::get<MoeBlock>(mlp).forward(ctx, normed, out);
    ops::add(ctx, x, out, x);
  }
}

}  // namespace tutti
