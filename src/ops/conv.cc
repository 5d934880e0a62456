#include "ops/conv.h"

#include <array>

#include "ops/linear_tasks.h"
#include "ops/parallel.h"

namespace tutti::ops {

namespace {

// Items per parallel region; more than that are done in groups, without a heap allocation.
constexpr size_t kItemsAtOnce = 64;

LinearTask conv_task(const ConvItem& item, const Tensor& weight, const Tensor& bias,
                     int64_t dilation, const Tensor* residual) {
  const int64_t channels_out = weight.dim(0), taps = weight.dim(1), channels_in = weight.dim(2);
  check_f32(item.x);
  check_f32(item.out);
  TUTTI_CHECK(item.x.is_contiguous() && item.out.is_contiguous(), "signals are contiguous");
  TUTTI_CHECK(item.x.cols() == channels_in, "x and weight must agree in channels");
  const int64_t steps = item.out.num_elements() / channels_out;
  TUTTI_CHECK(steps * channels_out == item.out.num_elements() &&
                  item.x.rows() == (taps - 1) * dilation + steps,
              "x has (K - 1) * dilation rows more than out");
  LinearTask task{{}, steps, channels_out};
  cpu::LinearArgs& a = task.args;
  a.x = item.x.data<float>();
  a.x_stride = channels_in;
  a.w = weight.raw_data();
  a.w_is_bf16 = weight.dtype() == DType::kBF16;
  a.w_stride = taps * channels_in;
  a.segments = dilation == 1 ? 1 : taps;
  a.segment_length = dilation == 1 ? taps * channels_in : channels_in;
  a.x_segment_stride = dilation * channels_in;
  a.bias = param(bias, channels_out);
  a.out = item.out.data<float>();
  a.out_stride = channels_out;
  if (residual != nullptr) {
    check_f32(*residual);
    TUTTI_CHECK(residual->num_elements() == item.out.num_elements() && residual->is_contiguous(),
                "a residual has the shape of out");
    a.residual = residual->data<float>();
    a.residual_stride = channels_out;
  }
  return task;
}

}  // namespace

void conv1d(OpContext& ctx, std::span<const ConvItem> items, const Tensor& weight,
            const Tensor& bias, const Conv1dOptions& options) {
  check_cpu(ctx);
  TUTTI_CHECK(weight.rank() == 3 && weight.is_contiguous() && is_weight_dtype(weight.dtype()),
              "a convolution's weight is [Cout, K, Cin], F32 or BF16");
  TUTTI_CHECK(options.residual.empty() || options.residual.size() == items.size(),
              "one residual per item");
  std::array<LinearTask, kItemsAtOnce> tasks;
  for (size_t begin = 0; begin < items.size(); begin += kItemsAtOnce) {
    const size_t count = std::min(kItemsAtOnce, items.size() - begin);
    for (size_t i = 0; i < count; ++i) {
      const Tensor* residual = options.residual.empty() ? nullptr : &options.residual[begin + i];
      tasks[i] = conv_task(items[begin + i], weight, bias, options.dilation, residual);
    }
    run_linear_tasks(ctx, {tasks.data(), count});
  }
}

void depthwise_conv1d(OpContext& ctx, std::span<const ConvItem> items, const Tensor& weight,
                      const Tensor& bias) {
  check_cpu(ctx);
  TUTTI_CHECK(weight.rank() == 2 && weight.is_contiguous(), "a depthwise weight is [K, C]");
  const int64_t taps = weight.dim(0), channels = weight.dim(1);
  const cpu::Param w = param(weight), b = param(bias, channels);
  for (const ConvItem& item : items) {
    check_f32(item.x);
    check_f32(item.out);
    TUTTI_CHECK(item.x.is_contiguous() && item.out.is_contiguous(), "signals are contiguous");
    TUTTI_CHECK(item.x.cols() == channels && item.out.cols() == channels &&
                    item.x.rows() == taps - 1 + item.out.rows(),
                "x has K - 1 rows more than out");
    const float* x = item.x.data<float>();
    float* out = item.out.data<float>();
    for_rows(ctx, item.out.rows(), taps * channels, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        cpu::kernels().depthwise(x + t * channels, w, b, taps, channels, out + t * channels);
      }
    });
  }
}

}  // namespace tutti::ops
