#include "layers/streaming_conv.h"

#include <algorithm>

#include "ops/elementwise.h"

namespace tutti {

namespace {

ConvStream make_window(OpContext& ctx, ConvTail& tail, int64_t history, int64_t channels,
                       int64_t rows) {
  ConvStream stream{&tail, ctx.workspace.tensor({history + rows, channels}), history};
  if (history > 0) {
    ops::copy(ctx, tail.rows.slice(tail.rows.dim(0) - history, tail.rows.dim(0)),
              stream.window.slice(0, history));
  }
  return stream;
}

void keep_tail(OpContext& ctx, const ConvStream& stream) {
  ConvTail& tail = *stream.tail;
  if (!tail.rows.defined()) return;
  const int64_t rows = stream.window.dim(0);
  const int64_t kept = std::min(tail.rows.dim(0), rows);
  // A window shorter than the tail only occurs before a transposed convolution has begun, whose
  // tail is one row; a causal one always has its whole history in the window.
  ops::copy(ctx, stream.window.slice(rows - kept, rows), tail.rows.slice(0, kept));
  tail.valid = kept;
}

}  // namespace

ConvTail CausalConv1d::fresh_tail() const {
  if (history() == 0) return {};
  return {Tensor::zeros({history(), in_channels()}), history()};
}

ConvStream CausalConv1d::window(OpContext& ctx, ConvTail& tail, int64_t rows) const {
  return make_window(ctx, tail, history(), in_channels(), rows);
}

void CausalConv1d::forward(OpContext& ctx, std::span<const ConvStream> streams,
                           std::span<const Tensor> outs, std::span<const Tensor> residuals) const {
  std::vector<ops::ConvItem> items;
  items.reserve(streams.size());
  for (size_t i = 0; i < streams.size(); ++i) items.push_back({streams[i].window, outs[i]});
  if (depthwise) {
    ops::depthwise_conv1d(ctx, items, weight, bias);
  } else {
    ops::conv1d(ctx, items, weight, bias, {.dilation = dilation, .residual = residuals});
  }
  for (const ConvStream& stream : streams) keep_tail(ctx, stream);
}

ConvTail TransposedConv1d::fresh_tail() const {
  if (history() == 0) return {};
  return {Tensor::zeros({history(), in_channels()}), 0};
}

ConvStream TransposedConv1d::window(OpContext& ctx, ConvTail& tail, int64_t rows) const {
  return make_window(ctx, tail, tail.valid, in_channels(), rows);
}

void TransposedConv1d::forward(OpContext& ctx, std::span<const ConvStream> streams,
                               std::span<const Tensor> outs) const {
  std::vector<ops::ConvItem> items;
  items.reserve(streams.size());
  for (size_t i = 0; i < streams.size(); ++i) {
    const int64_t rows = out_rows(streams[i]);
    if (rows == 0) continue;
    items.push_back({streams[i].window, outs[i].reshape({rows / stride, weight.dim(0)})});
  }
  if (!items.empty()) ops::conv1d(ctx, items, weight, bias);
  for (const ConvStream& stream : streams) keep_tail(ctx, stream);
}

Tensor repack_conv(const Tensor& weight) {
  const int64_t outs = weight.dim(0), ins = weight.dim(1), taps = weight.dim(2);
  Tensor packed = Tensor::empty({outs, taps, ins});
  const float* from = weight.data<float>();
  float* to = packed.data<float>();
  for (int64_t o = 0; o < outs; ++o) {
    for (int64_t k = 0; k < taps; ++k) {
      for (int64_t i = 0; i < ins; ++i) {
        to[(o * taps + k) * ins + i] = from[(o * ins + i) * taps + k];
      }
    }
  }
  return packed;
}

Tensor repack_depthwise(const Tensor& weight) {
  const int64_t channels = weight.dim(0), taps = weight.dim(2);
  Tensor packed = Tensor::empty({taps, channels});
  const float* from = weight.data<float>();
  float* to = packed.data<float>();
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t k = 0; k < taps; ++k) to[k * channels + c] = from[c * taps + k];
  }
  return packed;
}

Tensor repack_transposed(const Tensor& weight, int64_t stride) {
  const int64_t ins = weight.dim(0), outs = weight.dim(1), kernel = weight.dim(2);
  const int64_t taps = kernel / stride;
  Tensor packed = Tensor::empty({stride * outs, taps, ins});
  const float* from = weight.data<float>();
  float* to = packed.data<float>();
  for (int64_t i = 0; i < ins; ++i) {
    for (int64_t o = 0; o < outs; ++o) {
      for (int64_t k = 0; k < kernel; ++k) {
        const int64_t row = (k % stride) * outs + o;
        const int64_t tap = taps - 1 - k / stride;
        to[(row * taps + tap) * ins + i] = from[(i * outs + o) * kernel + k];
      }
    }
  }
  return packed;
}

Tensor repeat_bias(const Tensor& bias, int64_t stride) {
  const int64_t outs = bias.dim(0);
  Tensor repeated = Tensor::empty({stride * outs});
  for (int64_t r = 0; r < stride; ++r) {
    std::copy_n(bias.data<float>(), outs, repeated.data<float>() + r * outs);
  }
  return repeated;
}

}  // namespace tutti
