// Table look-ups.
#pragma once

#include "backend/context.h"

namespace tutti::ops {

// out[t] = table[ids[t]]; ids [T] I32, table [V, D] F32/BF16, out [T, D] F32. Ids are in range.
void embedding(OpContext& ctx, const Tensor& ids, const Tensor& table, const Tensor& out);

// out[t] = scale * sum_g table[ids[t, g] + g * rows_per_group], summed in the order of g.
// ids [T, G] I32, table [G * rows_per_group, D] F32/BF16, out [T, D] F32. Code2wav's input is the
// mean over code groups: scale = 1 / G.
void embedding_sum(OpContext& ctx, const Tensor& ids, const Tensor& table, int64_t rows_per_group,
                   float scale, const Tensor& out);

// out[t] = sum_j weights[t, j] * table[ids[t, j]], summed in the order of j (interpolation between
// entries). ids [T, J] I32 and weights [T, J] F32, contiguous; table [V, D] F32/BF16, out [T, D].
void embedding_mix(OpContext& ctx, const Tensor& ids, const Tensor& weights, const Tensor& table,
                   const Tensor& out);

}  // namespace tutti::ops
