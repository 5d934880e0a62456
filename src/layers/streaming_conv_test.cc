#include "layers/streaming_conv.h"

#include <gtest/gtest.h>

#include <random>

#include "backend/executor.h"
#include "ops/elementwise.h"

namespace tutti {
namespace {

class StreamingConvTest : public ::testing::Test {
 protected:
  Tensor random(Shape shape) {
    Tensor out = Tensor::empty(shape);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (int64_t i = 0; i < out.num_elements(); ++i) out.data<float>()[i] = uniform(rng_);
    return out;
  }

  // Feeds x [T, C] in pieces of `chunk` rows and returns all output rows.
  template <typename Layer>
  std::vector<float> stream(const Layer& layer, const Tensor& x, int64_t chunk) {
    std::vector<float> all;
    ConvTail tail = layer.fresh_tail();
    executor_->run({}, [&](OpContext& ctx) {
      for (int64_t at = 0; at < x.dim(0); at += chunk) {
        Workspace::Scope scope(ctx.workspace);
        const int64_t rows = std::min(chunk, x.dim(0) - at);
        const ConvStream stream = layer.window(ctx, tail, rows);
        ops::copy(ctx, x.slice(at, at + rows), stream.new_rows());
        const Tensor out = ctx.workspace.tensor({out_rows(layer, stream), layer.out_channels()});
        layer.forward(ctx, {&stream, 1}, {&out, 1});
        all.insert(all.end(), out.data<float>(), out.data<float>() + out.num_elements());
      }
    });
    return all;
  }
  static int64_t out_rows(const CausalConv1d&, const ConvStream& s) { return s.new_rows().dim(0); }
  static int64_t out_rows(const TransposedConv1d& layer, const ConvStream& s) {
    return layer.out_rows(s);
  }

  std::mt19937 rng_{7};
  std::unique_ptr<DeviceExecutor> executor_ = DeviceExecutor::create_cpu(2);
};

void expect_near(const std::vector<float>& actual, const std::vector<double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], 1e-4) << i;
}

TEST_F(StreamingConvTest, CausalEqualsItsDefinition) {
  for (const auto& [in, out, kernel, dilation] :
       {std::array<int64_t, 4>{5, 3, 7, 1}, {3, 6, 7, 9}, {4, 1, 1, 1}, {2, 2, 3, 2}}) {
    const Tensor weight = random({out, in, kernel});  // PyTorch's layout
    const Tensor bias = random({out});
    const Tensor x = random({23, in});
    CausalConv1d conv{repack_conv(weight), bias, dilation, false};
    std::vector<double> expected;
    for (int64_t t = 0; t < x.dim(0); ++t) {
      for (int64_t o = 0; o < out; ++o) {
        double sum = bias.data<float>()[o];
        for (int64_t k = 0; k < kernel; ++k) {
          const int64_t from = t - (kernel - 1 - k) * dilation;
          for (int64_t i = 0; i < in && from >= 0; ++i) {
            sum += static_cast<double>(weight.data<float>()[(o * in + i) * kernel + k]) *
                   static_cast<double>(x.data<float>()[from * in + i]);
          }
        }
        expected.push_back(sum);
      }
    }
    const std::vector<float> whole = stream(conv, x, 23);
    expect_near(whole, expected);
    for (int64_t chunk : {1, 2, 5, 22}) EXPECT_EQ(stream(conv, x, chunk), whole) << chunk;
  }
}

TEST_F(StreamingConvTest, DepthwiseEqualsItsDefinition) {
  const int64_t channels = 5, kernel = 7;
  const Tensor weight = random({channels, 1, kernel});
  const Tensor bias = random({channels});
  const Tensor x = random({12, channels});
  CausalConv1d conv{repack_depthwise(weight), bias, 1, true};
  std::vector<double> expected;
  for (int64_t t = 0; t < x.dim(0); ++t) {
    for (int64_t c = 0; c < channels; ++c) {
      double sum = bias.data<float>()[c];
      for (int64_t k = std::max<int64_t>(0, kernel - 1 - t); k < kernel; ++k) {
        sum += static_cast<double>(weight.data<float>()[c * kernel + k]) *
               static_cast<double>(x.data<float>()[(t - (kernel - 1 - k)) * channels + c]);
      }
      expected.push_back(sum);
    }
  }
  const std::vector<float> whole = stream(conv, x, 12);
  expect_near(whole, expected);
  for (int64_t chunk : {1, 3}) EXPECT_EQ(stream(conv, x, chunk), whole);
}

TEST_F(StreamingConvTest, TransposedEqualsTheTrimmedDefinition) {
  for (const auto& [in, out, stride, taps] :
       {std::array<int64_t, 4>{4, 3, 5, 2}, {3, 2, 8, 2}, {6, 6, 2, 1}, {3, 1, 3, 2}}) {
    const int64_t kernel = stride * taps;
    const Tensor weight = random({in, out, kernel});  // PyTorch's layout
    const Tensor bias = random({out});
    const Tensor x = random({9, in});
    TransposedConv1d conv{repack_transposed(weight, stride), repeat_bias(bias, stride), stride};
    const int64_t length = (x.dim(0) - 1) * stride + kernel;
    std::vector<double> full(static_cast<size_t>(length * out));
    for (int64_t i = 0; i < length * out; ++i) full[i] = bias.data<float>()[i % out];
    for (int64_t t = 0; t < x.dim(0); ++t) {
      for (int64_t k = 0; k < kernel; ++k) {
        for (int64_t o = 0; o < out; ++o) {
          for (int64_t i = 0; i < in; ++i) {
            full[(t * stride + k) * out + o] +=
                static_cast<double>(x.data<float>()[t * in + i]) *
                static_cast<double>(weight.data<float>()[(i * out + o) * kernel + k]);
          }
        }
      }
    }
    const int64_t pad = kernel - stride;
    const std::vector<double> expected(full.begin() + pad * out,
                                       full.begin() + (length - pad) * out);
    const std::vector<float> whole = stream(conv, x, 9);
    expect_near(whole, expected);
    for (int64_t chunk : {1, 2, 4}) EXPECT_EQ(stream(conv, x, chunk), whole) << chunk;
  }
}

}  // namespace
}  // namespace tutti
