// Attention with grouped key/value heads over a paged KV cache, and over plain sequences.
#pragma once

#include "backend/context.h"

namespace tutti::ops {

// One layer's cache: k, v [num_blocks, num_key_value_heads, block_size, head_dim], F32 or BF16.
struct KvCacheView {
  const Tensor& k;
  const Tensor& v;
};

// S sequences whose new tokens are packed into T rows.
struct PagedBatch {
  const Tensor& query_start;   // [S + 1] I32: rows of sequence s are [query_start[s], [s + 1])
  const Tensor& kv_lengths;    // [S] I32: tokens in the cache, the new ones included
  const Tensor& block_tables;  // [S, max_blocks] I32: physical block of each logical block
  const Tensor& slots;         // [T] I32: block * block_size + offset where a new token is stored
  int64_t num_sequences;
  int64_t max_query_length;  // known on the host, to choose a kernel
  int64_t max_kv_length;
};

// Stores k, v [T, num_key_value_heads, head_dim] F32 (rows may be strided) at batch.slots.
// A slot of -1 is skipped.
void write_kv(OpContext& ctx, const Tensor& k, const Tensor& v, const PagedBatch& batch,
              const KvCacheView& cache);

// Causal attention of q [T, num_attention_heads, head_dim] to the cached tokens of its sequence:
// the query at row j of a sequence with n new tokens and kv_length L has position L - n + j and
// sees positions [max(0, p - window + 1), p]; window 0 means no limit. Blocks wholly outside the
// window are not touched (their table entries may be stale). out as q.
// Keys are taken in an order that depends on absolute positions only.
void paged_attention(OpContext& ctx, const Tensor& q, const KvCacheView& cache,
                     const PagedBatch& batch, float scale, int64_t window, const Tensor& out);

// Unmasked or causal attention inside segments of packed rows (encoders): q [T, H, D],
// k, v [T, Hkv, D], segment_start [S + 1] I32, out as q.
void segment_attention(OpContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                       const Tensor& segment_start, int64_t num_segments, float scale, bool causal,
                       const Tensor& out);

}  // namespace tutti::ops
