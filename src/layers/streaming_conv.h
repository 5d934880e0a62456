// Causal convolutions that keep the tail of their input, so that a signal fed in pieces of any
// length gives the samples of the whole signal bit by bit.
//
// A layer is immutable and shared; a signal's history is a ConvTail, one per layer and sequence.
// Usage: window = layer.window(..) reserves [history | new] rows, the caller writes the new rows
// into new_rows(window), layer.forward(..) convolves and keeps the tail.
// Thread: layers from any thread; a tail from its sequence's owner.
#pragma once

#include <span>
#include <vector>

#include "ops/conv.h"

namespace tutti {

// The last inputs of one layer of one sequence.
struct ConvTail {
  Tensor rows;        // [history, Cin] F32
  int64_t valid = 0;  // rows at the end that exist; the signal began after the others
};

// One sequence's place in a batched call.
struct ConvStream {
  ConvTail* tail = nullptr;
  Tensor window;  // [history + T, Cin] F32
  int64_t history = 0;

  Tensor new_rows() const { return window.slice(history, window.dim(0)); }
};

// Conv1d with left padding (kernel - 1) * dilation of zeros; depthwise or full.
struct CausalConv1d {
  Tensor weight;  // [Cout, K, Cin], depthwise [K, C]
  Tensor bias;
  int64_t dilation = 1;
  bool depthwise = false;

  int64_t kernel() const { return depthwise ? weight.dim(0) : weight.dim(1); }
  int64_t in_channels() const { return depthwise ? weight.dim(1) : weight.dim(2); }
  int64_t out_channels() const { return depthwise ? weight.dim(1) : weight.dim(0); }
  int64_t history() const { return (kernel() - 1) * dilation; }
  // The tail of a signal that has not begun: zeros, which are the padding.
  ConvTail fresh_tail() const;
  // Room for `rows` new input rows behind the tail, in the workspace.
  ConvStream window(OpContext& ctx, ConvTail& tail, int64_t rows) const;
  // outs[i] [T_i, Cout] from streams[i] with T_i >= 1 new rows. residuals as ops::conv1d.
  void forward(OpContext& ctx, std::span<const ConvStream> streams, std::span<const Tensor> outs,
               std::span<const Tensor> residuals = {}) const;
};

// ConvTranspose1d of stride s and kernel s or 2s, trimmed by kernel - s on both sides. With kernel
// 2s an input row gives the s samples that it shares with the row before it; the first one gives
// none.
struct TransposedConv1d {
  Tensor weight;  // [s * Cout, kernel / s, Cin], rows phase-major
  Tensor bias;    // [s * Cout]
  int64_t stride = 1;

  int64_t history() const { return weight.dim(1) - 1; }
  int64_t in_channels() const { return weight.dim(2); }
  int64_t out_channels() const { return weight.dim(0) / stride; }
  ConvTail fresh_tail() const;
  ConvStream window(OpContext& ctx, ConvTail& tail, int64_t rows) const;
  // Samples that the stream's new rows give; 0 for the first row of a kernel of 2s.
  int64_t out_rows(const ConvStream& stream) const {
    return (stream.window.dim(0) - history()) * stride;
  }
  // outs[i] [out_rows, Cout]; streams without output only keep their tail.
  void forward(OpContext& ctx, std::span<const ConvStream> streams,
               std::span<const Tensor> outs) const;
};

// PyTorch's Conv1d weight [Cout, Cin, K] as [Cout, K, Cin]; F32 on the host, at load.
Tensor repack_conv(const Tensor& weight);
// PyTorch's depthwise Conv1d weight [C, 1, K] as [K, C].
Tensor repack_depthwise(const Tensor& weight);
// PyTorch's ConvTranspose1d weight [Cin, Cout, taps * stride] as [stride * Cout, taps, Cin], oldest
// input first: y[t * s + r] = sum_j w[:, :, r + j * s] x[t - j].
Tensor repack_transposed(const Tensor& weight, int64_t stride);
// bias [Cout] repeated for each phase.
Tensor repeat_bias(const Tensor& bias, int64_t stride);

}  // namespace tutti
