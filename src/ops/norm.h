// Normalisations over the last dimension.
#pragma once

#include "backend/context.h"

namespace tutti::ops {

// out = x / sqrt(mean(x^2) + eps) * weight; x, out [.., D] F32, weight [D] F32/BF16. out may be x.
// On [T, heads, head_dim] with weight [head_dim] it is the per-head norm of Qwen3's q and k.
void rms_norm(OpContext& ctx, const Tensor& x, const Tensor& weight, float eps, const Tensor& out);

// residual += x (in place), then out = rms_norm(residual).
void add_rms_norm(OpContext& ctx, const Tensor& x, const Tensor& residual, const Tensor& weight,
                  float eps, const Tensor& out);

// out = (x - mean) / sqrt(var + eps) * weight + bias; biased variance, as torch.nn.LayerNorm.
void layer_norm(OpContext& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
                float eps, const Tensor& out);

}  // namespace tutti::ops
