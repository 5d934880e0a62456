// SelfAttention: grouped-query attention with rotary positions over a paged KV cache, with the
// optional per-head norm of q and k (Qwen3) and an optional sliding window.
//
// Thread: immutable; any thread.
#pragma once

#include "layers/linear.h"
#include "layers/norm.h"
#include "layers/rotary.h"
#include "ops/attention.h"

namespace tutti {

struct SelfAttention {
  Linear q_proj;
  Linear k_proj;
  Linear v_proj;
  Linear o_proj;
  RmsNorm q_norm;  // weight undefined: none
  RmsNorm k_norm;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t window = 0;  // 0: no limit

  struct Heads {
    Tensor q;  // [T, num_attention_heads, head_dim]
    Tensor k;  // [T, num_key_value_heads, head_dim]
    Tensor v;
  };
  // Queries, keys and values of x [T, hidden], normed and rotated, in the workspace.
  Heads project(OpContext& ctx, const Tensor& x, const RotaryAngles& angles) const;
  // Stores k and v, attends; out [T, num_attention_heads, head_dim].
  void attend(OpContext& ctx, const Heads& heads, const ops::PagedBatch& batch,
              const ops::KvCacheView& cache, const Tensor& out) const;
  // x += o_proj(attention(normed)).
  void forward(OpContext& ctx, const Tensor& normed, const RotaryAngles& angles,
               const ops::PagedBatch& batch, const ops::KvCacheView& cache, const Tensor& x) const;
};

}  // namespace tutti
