#include "ops/conv.h"

#include "common.h"

namespace tutti::op_check {
namespace {

std::vector<double> naive_conv(const Tensor& x, const Tensor& w, const Tensor& bias,
                               int64_t dilation, int64_t steps, const Tensor* residual) {
  const int64_t cout = w.dim(0), taps = w.dim(1), cin = w.dim(2);
  std::vector<double> out(steps * cout);
  for (int64_t t = 0; t < steps; ++t) {
    for (int64_t o = 0; o < cout; ++o) {
      double sum = bias.defined() ? at(bias, o) : 0;
      for (int64_t k = 0; k < taps; ++k) {
        for (int64_t c = 0; c < cin; ++c) {
          sum += at(w, (o * taps + k) * cin + c) * at(x, (t + k * dilation) * cin + c);
        }
      }
      out[t * cout + o] = sum + (residual != nullptr ? at(*residual, t * cout + o) : 0);
    }
  }
  return out;
}

struct Layer {
  Tensor weight, bias;
  int64_t dilation;
  int64_t history() const { return (weight.dim(1) - 1) * dilation; }
};

Layer random_layer(Random& random, int64_t cin, int64_t cout, int64_t taps, int64_t dilation) {
  const float scale = 1 / std::sqrt(static_cast<float>(taps * cin));
  return {random.tensor({cout, taps, cin}, scale, random.weight_dtype()),
          random.integer(0, 1) ? random.tensor({cout}, 1, random.weight_dtype()) : Tensor(),
          dilation};
}

Tensor run(OpContext& ctx, const Layer& layer, const Tensor& x, int64_t steps) {
  const Tensor out = Tensor::empty({steps, layer.weight.dim(0)});
  const ops::ConvItem item{x, out};
  ops::Conv1dOptions options;
  options.dilation = layer.dilation;
  ops::conv1d(ctx, {&item, 1}, layer.weight, layer.bias, options);
  return out;
}

const std::array<int64_t, 4> kLayers[] = {
    // Cin, Cout, K, dilation
    {3, 24, 7, 1},  {24, 1, 7, 1}, {48, 48, 7, 9},  {20, 40, 1, 1}, {16, 64, 2, 1},
    {40, 20, 3, 3}, {6, 6, 7, 3},  {400, 21, 7, 1}, {300, 13, 7, 3}};

TEST(Conv1d, MatchesTheFormulaOnEveryIsa) {
  Random random;
  for (auto [cin, cout, taps, dilation] : kLayers) {
    const Layer layer = random_layer(random, cin, cout, taps, dilation);
    const int64_t steps = random.integer(1, 40);
    const Tensor x = random.tensor({layer.history() + steps, cin});
    check_everywhere([&](OpContext& ctx) { return run(ctx, layer, x, steps); },
                     naive_conv(x, layer.weight, layer.bias, dilation, steps, nullptr), 2e-5,
                     "Cin " + std::to_string(cin) + " Cout " + std::to_string(cout));
  }
}

TEST(Conv1d, StreamedInAnySplitEqualsOneShot) {
  Random random;
  cpu::set_isa_for_testing(cpu::available_isas().back());
  for (auto [cin, cout, taps, dilation] : kLayers) {
    const Layer layer = random_layer(random, cin, cout, taps, dilation);
    // Enough for a dilated convolution of the whole to be taken phase by phase.
    constexpr int64_t kSteps = 110;
    const Tensor x = random.tensor({layer.history() + kSteps, cin});
    const Tensor whole = run(one_thread().op, layer, x, kSteps);
    for (int64_t chunk = 1; chunk <= kSteps; chunk += chunk < 12 ? 1 : 7) {
      for (int64_t t = 0; t < kSteps; t += chunk) {
        const int64_t end = std::min(t + chunk, kSteps);
        expect_same_bits(run(three_threads().op, layer, x.slice(t, end + layer.history()), end - t),
                         whole.slice(t, end), "chunk " + std::to_string(chunk));
      }
    }
  }
}

TEST(Conv1d, ItemsWithResidualInPlace) {
  Random random;
  const Layer layer = random_layer(random, 24, 24, 3, 2);
  std::vector<Tensor> xs, residuals;
  std::vector<double> expected;
  int64_t total = 0;
  for (int64_t steps : {1, 30, 7}) {
    xs.push_back(random.tensor({steps + layer.history(), 24}));
    residuals.push_back(random.tensor({steps, 24}));
    const auto part = naive_conv(xs.back(), layer.weight, layer.bias, 2, steps, &residuals.back());
    expected.insert(expected.end(), part.begin(), part.end());
    total += steps;
  }
  check_everywhere(
      [&](OpContext& ctx) {
        const Tensor out = Tensor::empty({total, 24});
        std::vector<ops::ConvItem> items;
        std::vector<Tensor> outs;
        int64_t row = 0;
        for (size_t i = 0; i < xs.size(); ++i) {
          const int64_t steps = residuals[i].dim(0);
          outs.push_back(out.slice(row, row + steps));
          std::memcpy(outs.back().raw_data(), residuals[i].raw_data(), residuals[i].bytes());
          items.push_back({xs[i], outs.back()});
          row += steps;
        }
        ops::Conv1dOptions options;
        options.dilation = 2;
        options.residual = outs;
        ops::conv1d(ctx, items, layer.weight, layer.bias, options);
        return out;
      },
      expected, 2e-5, "items");
}

TEST(Conv1d, TransposedConvolutionIsAWideOne) {
  // Stride 3, kernel 6: output sample 3 t + j sums x[t] * kernel[j] and x[t - 1] * kernel[j + 3].
  Random random;
  const int64_t cin = 8, cout = 5, stride = 3, steps = 11;
  const Tensor kernel = random.tensor({cin, cout, 2 * stride});
  Tensor weight = Tensor::empty({stride * cout, 2, cin});
  for (int64_t j = 0; j < stride; ++j) {
    for (int64_t o = 0; o < cout; ++o) {
      for (int64_t c = 0; c < cin; ++c) {
        float* w = weight.data<float>() + (j * cout + o) * 2 * cin;
        w[c] = kernel.data<float>()[(c * cout + o) * 2 * stride + j + stride];
        w[cin + c] = kernel.data<float>()[(c * cout + o) * 2 * stride + j];
      }
    }
  }
  Tensor x = random.tensor({steps + 1, cin});
  std::memset(x.raw_data(), 0, cin * sizeof(float));  // nothing before the start
  std::vector<double> expected(steps * stride * cout);
  for (int64_t t = 0; t < steps; ++t) {
    for (int64_t j = 0; j < 2 * stride; ++j) {
      if (t * stride + j >= steps * stride) continue;
      for (int64_t o = 0; o < cout; ++o) {
        for (int64_t c = 0; c < cin; ++c) {
          expected[(t * stride + j) * cout + o] +=
              at(x, (t + 1) * cin + c) * at(kernel, (c * cout + o) * 2 * stride + j);
        }
      }
    }
  }
  check_everywhere(
      [&](OpContext& ctx) {
        const Tensor out = Tensor::empty({steps * stride, cout});
        const ops::ConvItem item{x, out};
        ops::conv1d(ctx, {&item, 1}, weight, {});
        return out;
      },
      expected, 2e-5, "transposed");
}

TEST(DepthwiseConv1d, MatchesTheFormulaAndStreams) {
  Random random;
  for (int64_t channels : {3, 16, 40, 100}) {
    const int64_t taps = 7, steps = 50;
    const Tensor w = random.tensor({taps, channels}, 0.4f, random.weight_dtype());
    const Tensor bias = random.tensor({channels}, 1, random.weight_dtype());
    const Tensor x = random.tensor({taps - 1 + steps, channels});
    std::vector<double> expected(steps * channels);
    for (int64_t t = 0; t < steps; ++t) {
      for (int64_t c = 0; c < channels; ++c) {
        double sum = at(bias, c);
        for (int64_t k = 0; k < taps; ++k) {
          sum += at(w, k * channels + c) * at(x, (t + k) * channels + c);
        }
        expected[t * channels + c] = sum;
      }
    }
    const auto run_depthwise = [&](OpContext& ctx, const Tensor& from, int64_t n) {
      const Tensor out = Tensor::empty({n, channels});
      const ops::ConvItem item{from, out};
      ops::depthwise_conv1d(ctx, {&item, 1}, w, bias);
      return out;
    };
    const Tensor whole =
        check_everywhere([&](OpContext& ctx) { return run_depthwise(ctx, x, steps); }, expected,
                         1e-5, "channels " + std::to_string(channels));
    for (int64_t t = 0; t < steps; ++t) {
      expect_same_bits(run_depthwise(one_thread().op, x.slice(t, t + taps), 1),
                       whole.slice(t, t + 1), "step");
    }
  }
}

TEST(Conv2d, MatchesTheFormulaOnEveryIsa) {
  Random random;
  struct Case {
    int64_t items, steps, columns, cin, cout, kernel, stride, border;
  };
  for (const Case& c : {Case{2, 9, 12, 1, 5, 3, 2, 1}, Case{3, 11, 8, 7, 20, 3, 2, 0},
                        Case{1, 5, 5, 3, 4, 2, 1, 2}, Case{40, 5, 6, 4, 3, 3, 2, 1}}) {
    const Tensor x = random.tensor({c.items, c.steps, c.columns, c.cin});
    const Tensor w =
        random.tensor({c.cout, c.kernel, c.kernel, c.cin}, 0.3f, random.weight_dtype());
    const Tensor bias = random.tensor({c.cout});
    const int64_t steps = (c.steps - c.kernel) / c.stride + 1 + 2 * c.border;
    const int64_t columns = (c.columns - c.kernel) / c.stride + 1 + 2 * c.border;
    std::vector<double> expected;
    for (int64_t n = 0; n < c.items; ++n) {
      for (int64_t t = 0; t < steps; ++t) {
        for (int64_t f = 0; f < columns; ++f) {
          const bool inside =
              t >= c.border && t < steps - c.border && f >= c.border && f < columns - c.border;
          for (int64_t o = 0; o < c.cout; ++o) {
            double sum = inside ? at(bias, o) : -7;
            for (int64_t i = 0; inside && i < c.kernel; ++i) {
              for (int64_t j = 0; j < c.kernel; ++j) {
                for (int64_t k = 0; k < c.cin; ++k) {
                  const int64_t row = (t - c.border) * c.stride + i;
                  const int64_t column = (f - c.border) * c.stride + j;
                  sum += at(w, ((o * c.kernel + i) * c.kernel + j) * c.cin + k) *
                         at(x, ((n * c.steps + row) * c.columns + column) * c.cin + k);
                }
              }
            }
            expected.push_back(sum);
          }
        }
      }
    }
    check_everywhere(
        [&](OpContext& ctx) {
          const Tensor out = Tensor::empty({c.items, steps, columns, c.cout});
          std::fill_n(out.data<float>(), out.num_elements(), -7.0f);  // the border stays
          ops::conv2d(ctx, x, w, bias, {.stride = c.stride, .border = c.border}, out);
          return out;
        },
        expected, 2e-5, "Cin " + std::to_string(c.cin));
  }
}

}  // namespace
}  // namespace tutti::op_check
