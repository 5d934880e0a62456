#include "layers/mlp.h"

#include <array>

#include "ops/elementwise.h"

namespace tutti {

void GatedMlp::forward(OpContext& ctx, const Tensor& x, const Tensor& out,
                       const ops::LinearOptions& options) const {
  Workspace::Scope scratch(ctx.workspace);
  const Shape shape{x.rows(), gate_proj.out_features()};
  const Tensor gate = ctx.workspace.tensor(shape);
  const Tensor up = ctx.workspace.tensor(shape);
  const std::array projections{gate_proj.to(gate), up_proj.to(up)};
  ops::linear_many(ctx, x, projections);
  ops::silu_mul(ctx, gate, up, gate);
  down_proj.forward(ctx, gate, out, options);
}

void MoeBlock::forward(OpContext& ctx, const Tensor& x, const Tensor& out) const {
  Workspace::Scope scratch(ctx.workspace);
  const Tensor logits = router.forward(ctx, x);
  const Tensor weights = ctx.workspace.tensor({x.rows(), top_k});
  const Tensor ids = ctx.workspace.tensor({x.rows(), top_k}, DType::kI32);
  ops::moe_route(ctx, logits, normalize, weights, ids);
  ops::moe_experts(ctx, x, weights, ids, experts, out);
  if (!has_shared_expert()) return;
  const Tensor shared = ctx.workspace.tensor(out.shape());
  shared_expert.forward(ctx, x, shared);
  ops::sigmoid_gate_add(ctx, shared_gate.forward(ctx, x), shared, out);
}

}  // namespace tutti
