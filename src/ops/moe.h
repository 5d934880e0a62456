// Mixture of experts: routing, and the experts' gated MLPs.
#pragma once

#include <span>

#include "backend/context.h"

namespace tutti::ops {

// weights, ids [T, top_k]: the top_k of softmax(logits [T, E]) in falling order (ties: lower id
// first); with normalize the chosen weights are divided by their sum. ids I32.
void moe_route(OpContext& ctx, const Tensor& logits, bool normalize, const Tensor& weights,
               const Tensor& ids);

// Weights of one expert, Hugging Face layout: gate, up [I, D], down [D, I]; F32 or BF16.
struct Expert {
  Tensor gate;
  Tensor up;
  Tensor down;
  // Number of `gate` among the maps that adapters may change; up and down follow. -1: none.
  int32_t lora_map = -1;
};

// out[t] = sum_j weights[t, j] * down(silu(gate x[t]) * up x[t]) of expert ids[t, j].
// A token's experts are summed in the order of rising expert id. x, out [T, D]. Tokens of one
// expert are computed together; an expert nobody chose is not touched.
void moe_experts(OpContext& ctx, const Tensor& x, const Tensor& weights, const Tensor& ids,
                 std::span<const Expert> experts, const Tensor& out);

}  // namespace tutti::ops
