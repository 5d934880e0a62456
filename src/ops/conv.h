// One-dimensional convolutions over time-major signals [T, channels], without padding: the caller
// puts history (or zeros) in front. Several independent signals run in one parallel region.
#pragma once

#include <span>

#include "backend/context.h"

namespace tutti::ops {

struct ConvItem {
  Tensor x;    // [(K - 1) * dilation + T, Cin] F32, contiguous
  Tensor out;  // [T, Cout] F32, contiguous
};

struct Conv1dOptions {
  int64_t dilation = 1;
  // Added to the output when defined, one per item, shape of out (residual units); may be out.
  std::span<const Tensor> residual = {};
};

// out[t] = bias + sum_k weight[:, k, :] x[t + k * dilation]; weight [Cout, K, Cin] F32/BF16 (taps
// before channels, so that an undilated window is one contiguous dot product), bias [Cout].
// A transposed convolution of stride s and kernel 2 s is this with weight [s * Cout, 2, Cin] and
// out viewed as [T * s, Cout]; one of kernel s has K = 1.
void conv1d(OpContext& ctx, std::span<const ConvItem> items, const Tensor& weight,
            const Tensor& bias, const Conv1dOptions& options = {});

// Depthwise: out[t, c] = bias[c] + sum_k weight[k, c] x[t + k, c]; weight [K, C].
void depthwise_conv1d(OpContext& ctx, std::span<const ConvItem> items, const Tensor& weight,
                      const Tensor& bias);

}  // namespace tutti::ops
