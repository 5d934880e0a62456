// Rotary position embedding (RoFormer), in the half-rotation form of Hugging Face's Llama and Qwen.
#pragma once

#include "backend/context.h"

namespace tutti::ops {

// cos[t, i] = cos(positions[axis[i], t] * inv_freq[i]), sin likewise.
// positions [A, T] F32 (A = 1, or 3 for temporal, height, width; video steps can be fractions),
// inv_freq [D/2] F32, axis [D/2] I32 (which position row a frequency takes: all 0 for plain
// rotary, interleaved T H W T H W ... T T for Qwen3-Omni's mrope), cos and sin [T, D/2] F32.
// Accurate to 1e-6 for |angle| up to 1e5.
void rotary_cos_sin(OpContext& ctx, const Tensor& positions, const Tensor& inv_freq,
                    const Tensor& axis, const Tensor& cos, const Tensor& sin);

// In place on x [T, heads, D] F32 (rows may be strided by token):
// x1' = x1 cos - x2 sin, x2' = x2 cos + x1 sin with x1 = x[.., :D/2], x2 = x[.., D/2:].
void apply_rotary(OpContext& ctx, const Tensor& x, const Tensor& cos, const Tensor& sin);

}  // namespace tutti::ops
