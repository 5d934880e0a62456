// RmsNorm: root-mean-square normalisation with a learned scale; LayerNorm: by mean and variance,
// with scale and bias.
//
// Thread: immutable; any thread.
#pragma once

#include "ops/norm.h"

namespace tutti {

struct RmsNorm {
  Tensor weight;
  float eps = 1e-6f;

  bool defined() const { return weight.defined(); }
  // out may be x.
  void forward(OpContext& ctx, const Tensor& x, const Tensor& out) const {
    ops::rms_norm(ctx, x, weight, eps, out);
  }
  Tensor forward(OpContext& ctx, const Tensor& x) const {
    Tensor out = ctx.workspace.tensor(x.shape());
    forward(ctx, x, out);
    return out;
  }
};

struct LayerNorm {
  Tensor weight;
  Tensor bias;
  float eps = 1e-5f;

  // out may be x.
  void forward(OpContext& ctx, const Tensor& x, const Tensor& out) const {
    ops::layer_norm(ctx, x, weight, bias, eps, out);
  }
  Tensor forward(OpContext& ctx, const Tensor& x) const {
    Tensor out = ctx.workspace.tensor(x.shape());
    forward(ctx, x, out);
    return out;
  }
};

}  // namespace tutti
