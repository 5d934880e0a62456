// Linear: weight [out_features, in_features] and an optional bias.
//
// Thread: immutable; any thread. Ownership: shares its tensors.
#pragma once

#include "ops/linear.h"

namespace tutti {

struct Linear {
  Tensor weight;
  Tensor bias;  // undefined: none
  // Number among the maps that adapters may change (ops/lora.h); -1: none may.
  int32_t lora_map = -1;

  int64_t in_features() const { return weight.dim(1); }
  int64_t out_features() const { return weight.dim(0); }

  // x [T, in], out [T, out].
  void forward(OpContext& ctx, const Tensor& x, const Tensor& out,
               const ops::LinearOptions& options = {}) const {
    ops::LinearOptions with_map = options;
    with_map.lora_map = lora_map;
    ops::linear(ctx, x, weight, bias, out, with_map);
  }
  // Into the workspace.
  Tensor forward(OpContext& ctx, const Tensor& x, const ops::LinearOptions& options = {}) const {
    Tensor out = ctx.workspace.tensor({x.rows(), out_features()});
    forward(ctx, x, out, options);
    return out;
  }
  // For ops::linear_many.
  ops::Projection to(const Tensor& out) const { return {weight, bias, out, lora_map}; }
};

// Two linear maps with an activation between them (talker projections).
struct ResizeMlp {
  Linear fc1;
  Linear fc2;
  ops::Activation activation = ops::Activation::kSilu;

  Tensor forward(OpContext& ctx, const Tensor& x) const {
    Tensor out = ctx.workspace.tensor({x.rows(), fc2.out_features()});
    Workspace::Scope scratch(ctx.workspace);
    fc2.forward(ctx, fc1.forward(ctx, x, {.activation = activation}), out);
    return out;
  }
};

}  // namespace tutti
