// Choosing a token from logits, one row per sequence.
#pragma once

#include <span>

#include "backend/context.h"

namespace tutti::ops {

struct SampleParams {
  float temperature = 1.0f;  // 0: greedy (the largest logit, lower id on ties)
  int32_t top_k = 0;         // 0: all
  float top_p = 1.0f;
  float min_p = 0.0f;
};

// ids[t] (I32) from logits [T, V] F32. uniform [T] F32 in [0, 1) are the random numbers, one per
// row, so that a row's choice depends on nothing but its logits, parameters and number. Filters in
// Hugging Face's order: temperature, top_k, top_p (smallest set whose mass reaches top_p, at least
// one), min_p; then the inverse of the cumulative distribution over tokens in falling order.
// params [T]: one per row, on the host. Logits are not changed.
void sample(OpContext& ctx, const Tensor& logits, std::span<const SampleParams> params,
            const Tensor& uniform, const Tensor& ids);

}  // namespace tutti::ops
