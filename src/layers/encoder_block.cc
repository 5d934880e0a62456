#include "layers/encoder_block.h"

#include <array>
#include <cmath>

#include "ops/attention.h"
#include "ops/rotary.h"

namespace tutti {

void EncoderAttention::forward(OpContext& ctx, const Tensor& normed, const RotaryAngles* angles,
                               const Segments& segments, const Tensor& x) const {
  Workspace::Scope scratch(ctx.workspace);
  const int64_t rows = x.rows(), width = q_proj.out_features(), head_dim = width / num_heads;
  const Tensor q = ctx.workspace.tensor({rows, width});
  const Tensor k = ctx.workspace.tensor({rows, width});
  const Tensor v = ctx.workspace.tensor({rows, width});
  const std::array projections{ops::Projection{q_proj.weight, q_proj.bias, q},
                               ops::Projection{k_proj.weight, k_proj.bias, k},
                               ops::Projection{v_proj.weight, v_proj.bias, v}};
  ops::linear_many(ctx, normed, projections);
  const Shape heads{rows, num_heads, head_dim};
  if (angles != nullptr) {
    ops::apply_rotary(ctx, q.reshape(heads), angles->cos, angles->sin);
    ops::apply_rotary(ctx, k.reshape(heads), angles->cos, angles->sin);
  }
  const Tensor out = ctx.workspace.tensor({rows, width});
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  ops::segment_attention(ctx, q.reshape(heads), k.reshape(heads), v.reshape(heads), segments.start,
                         segments.count, scale, false, out.reshape(heads));
  out_proj.forward(ctx, out, x, {.residual = &x});
}

void EncoderBlock::forward(OpContext& ctx, const Tensor& x, const RotaryAngles* angles,
                           const Segments& segments) const {
  Workspace::Scope scratch(ctx.workspace);
  const Tensor normed = ctx.workspace.tensor(x.shape());
  attention_norm.forward(ctx, x, normed);
  attention.forward(ctx, normed, angles, segments, x);
  mlp_norm.forward(ctx, x, normed);
  const Tensor middle = fc1.forward(ctx, normed, {.activation = activation});
  fc2.forward(ctx, middle, x, {.residual = &x});
}

}  // namespace tutti
