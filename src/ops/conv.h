// Convolutions over time-major signals, [T, channels] and [T, F, channels], without padding: the
// caller puts history (or zeros) around them. Several independent signals run in one parallel
// region.
#pragma once

#include <span>

#include "backend/context.h"
#include "ops/linear.h"

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

struct Conv2dOptions {
  int64_t stride = 1;  // in both dimensions
  // Zeros that the caller has put around each output, to be the padding of the next convolution.
  int64_t border = 0;
  Activation activation = Activation::kNone;
};

// out[n, t, f] = activation(bias + sum_ij weight[:, i, j, :] x[n, t * stride + i, f * stride + j])
// for x [N, T, F, Cin], weight [Cout, K, K, Cin] F32/BF16, bias [Cout] and out
// [N, T' + 2 border, F' + 2 border, Cout], of which the inner part is written:
// T' = (T - K) / stride + 1, F' likewise.
void conv2d(OpContext& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
            const Conv2dOptions& options, const Tensor& out);

}  // namespace tutti::ops
