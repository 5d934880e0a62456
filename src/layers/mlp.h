// Feed-forward blocks: the gated MLP, and the mixture of experts with an optional shared expert.
//
// Thread: immutable; any thread.
#pragma once

#include <vector>

#include "layers/linear.h"
#include "ops/moe.h"

namespace tutti {

// down(silu(gate x) * up x)
struct GatedMlp {
  Linear gate_proj;
  Linear up_proj;
  Linear down_proj;

  // out [T, D] = mlp(x), plus options.residual.
  void forward(OpContext& ctx, const Tensor& x, const Tensor& out,
               const ops::LinearOptions& options = {}) const;
};

// Top-k experts of softmax(router x); with a shared expert sigmoid(shared_gate x) * shared(x) is
// added (Qwen2-MoE).
struct MoeBlock {
  Linear router;  // [num_experts, D]
  std::vector<ops::Expert> experts;
  int64_t top_k = 1;
  bool normalize = true;
  GatedMlp shared_expert;  // weights undefined: none
  Linear shared_gate;      // [1, D]

  bool has_shared_expert() const { return shared_gate.weight.defined(); }
  void forward(OpContext& ctx, const Tensor& x, const Tensor& out) const;
};

}  // namespace tutti
