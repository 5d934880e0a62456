#include "layers/attention.h"

#include <array>
#include <cmath>

#include "ops/rotary.h"

namespace tutti {

SelfAttention::Heads SelfAttention::project(OpContext& ctx, const Tensor& x,
                                            const RotaryAngles& angles) const {
  const int64_t rows = x.rows();
  const int64_t q_width = num_attention_heads * head_dim;
  const int64_t kv_width = num_key_value_heads * head_dim;
  const Tensor q = ctx.workspace.tensor({rows, q_width});
  const Tensor k = ctx.workspace.tensor({rows, kv_width});
  const Tensor v = ctx.workspace.tensor({rows, kv_width});
  const std::array projections{q_proj.to(q), k_proj.to(k), v_proj.to(v)};
  ops::linear_many(ctx, x, projections);
  Heads heads{q.reshape({rows, num_attention_heads, head_dim}),
              k.reshape({rows, num_key_value_heads, head_dim}),
              v.reshape({rows, num_key_value_heads, head_dim})};
  if (q_norm.defined()) q_norm.forward(ctx, heads.q, heads.q);
  if (k_norm.defined()) k_norm.forward(ctx, heads.k, heads.k);
  ops::apply_rotary(ctx, heads.q, angles.cos, angles.sin);
  ops::apply_rotary(ctx, heads.k, angles.cos, angles.sin);
  return heads;
}

void SelfAttention::attend(OpContext& ctx, const Heads& heads, const ops::PagedBatch& batch,
                           const ops::KvCacheView& cache, const Tensor& out) const {
  ops::write_kv(ctx, heads.k, heads.v, batch, cache);
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  ops::paged_attention(ctx, heads.q, cache, batch, scale, window, out);
}

void SelfAttention::forward(OpContext& ctx, const Tensor& normed, const RotaryAngles& angles,
                            const ops::PagedBatch& batch, const ops::KvCacheView& cache,
                            const Tensor& x) const {
  Workspace::Scope scratch(ctx.workspace);
  const Heads heads = project(ctx, normed, angles);
  const Tensor out = ctx.workspace.tensor(heads.q.shape());
  attend(ctx, heads, batch, cache, out);
  o_proj.forward(ctx, out.reshape({x.rows(), num_attention_heads * head_dim}), x, {.residual = &x});
}

}  // namespace tutti
