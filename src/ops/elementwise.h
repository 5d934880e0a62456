// Elementwise ops and row moves. All floats F32 unless said; parameters may be F32 or BF16.
#pragma once

#include "backend/context.h"
#include "ops/linear.h"

namespace tutti::ops {

// out = a + b; out may be a or b.
void add(OpContext& ctx, const Tensor& a, const Tensor& b, const Tensor& out);
// out = silu(gate) * up; out may be gate or up.
void silu_mul(OpContext& ctx, const Tensor& gate, const Tensor& up, const Tensor& out);
// out = activation(x); out may be x.
void activate(OpContext& ctx, Activation activation, const Tensor& x, const Tensor& out);
// out[t, c] = residual[t, c] + x[t, c] * scale[c]; out may be x or residual (LayerScale, gamma).
void scale_add(OpContext& ctx, const Tensor& x, const Tensor& scale, const Tensor& residual,
               const Tensor& out);
// out[t, c] += sigmoid(gate[t, 0]) * x[t, c] (the shared expert of a MoE block).
void sigmoid_gate_add(OpContext& ctx, const Tensor& gate, const Tensor& x, const Tensor& out);
// out = min(max(x, low), high); out may be x.
void clamp(OpContext& ctx, const Tensor& x, float low, float high, const Tensor& out);
// SnakeBeta (BigVGAN): out = x + inv_beta[c] * sin^2(alpha[c] * x); x, out [T, C], out may be x.
// alpha and inv_beta are already exponentiated: alpha = exp(a), inv_beta = 1 / (exp(b) + 1e-9).
void snake_beta(OpContext& ctx, const Tensor& x, const Tensor& alpha, const Tensor& inv_beta,
                const Tensor& out);

// Copies rows of any dtype: same shape and dtype, either side may have strided rows.
void copy(OpContext& ctx, const Tensor& from, const Tensor& to);
// to (F32, same shape) = from (F32 or BF16).
void cast(OpContext& ctx, const Tensor& from, const Tensor& to);
// out[i] = x[index[i]]; x [T, D] F32, index [n] I32, out [n, D].
void gather_rows(OpContext& ctx, const Tensor& x, const Tensor& index, const Tensor& out);
// out[index[i]] = x[i]; the other rows of out stay.
void scatter_rows(OpContext& ctx, const Tensor& x, const Tensor& index, const Tensor& out);
// out[index[i]] += x[i]; indices are distinct (DeepStack).
void scatter_add_rows(OpContext& ctx, const Tensor& x, const Tensor& index, const Tensor& out);
// to [.., ] = 0
void fill_zero(OpContext& ctx, const Tensor& to);

}  // namespace tutti::ops
