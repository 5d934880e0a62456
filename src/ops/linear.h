// Linear maps: out = x w^T + bias.
#pragma once

#include <functional>
#include <span>

#include "backend/context.h"

namespace tutti::ops {

enum class Activation : uint8_t { kNone, kSilu, kGelu, kGeluTanh };

struct LinearOptions {
  Activation activation = Activation::kNone;
  // Added after the activation; same shape as out, may be out itself.
  const Tensor* residual = nullptr;
  // Number of this map among those that adapters may change (ops/lora.h); -1: none may.
  int32_t lora_map = -1;
};

// x [T, K] F32 (rows may be strided), weight [N, K] F32 or BF16, bias [N] F32/BF16 or undefined,
// out [T, N] F32 (rows may be strided). Sums over K in one fixed order for every T. What the rows'
// adapters add comes before the activation.
void linear(OpContext& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
            const Tensor& out, const LinearOptions& options = {});

// References that refuse a temporary, which would be gone before the call.
struct Projection {
  std::reference_wrapper<const Tensor> weight;
  std::reference_wrapper<const Tensor> bias;  // may be undefined
  std::reference_wrapper<const Tensor> out;
  int32_t lora_map = -1;  // as of LinearOptions
};
// Several maps of the same x in one parallel region (q, k, v; gate, up).
void linear_many(OpContext& ctx, const Tensor& x, std::span<const Projection> projections);

}  // namespace tutti::ops
