#include "ops/conv.h"

#include <array>

#include "ops/linear_tasks.h"
#include "ops/parallel.h"

namespace tutti::ops {

namespace {

// Tasks per parallel region; more than that are done in groups, without a heap allocation.
constexpr size_t kTasksAtOnce = 64;
// Rows a phase must have to be worth reading the weights again.
constexpr int64_t kPhaseRows = 32;

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

// The rows phase, phase + dilation, phase + 2 dilation, ... of a task: their windows overlap, so
// that a tile of them touches little of x, where neighbouring rows of a dilated convolution share
// nothing.
LinearTask phase_of(const LinearTask& whole, int64_t phase, int64_t dilation) {
  LinearTask task = whole;
  cpu::LinearArgs& a = task.args;
  a.x += phase * a.x_stride;
  a.out += phase * a.out_stride;
  if (a.residual != nullptr) a.residual += phase * a.residual_stride;
  a.x_stride *= dilation;
  a.out_stride *= dilation;
  a.residual_stride *= dilation;
  task.rows = (whole.rows - phase + dilation - 1) / dilation;
  return task;
}

// Collects tasks and runs them in regions of up to kTasksAtOnce.
class Region {
 public:
  explicit Region(OpContext& ctx) : ctx_(ctx) {}
  void add(const LinearTask& task) {
    if (count_ == kTasksAtOnce) run();
    tasks_[count_++] = task;
  }
  void run() {
    run_linear_tasks(ctx_, {tasks_.data(), count_});
    count_ = 0;
  }

 private:
  OpContext& ctx_;
  std::array<LinearTask, kTasksAtOnce> tasks_;
  size_t count_ = 0;
};

}  // namespace

void conv1d(OpContext& ctx, std::span<const ConvItem> items, const Tensor& weight,
            const Tensor& bias, const Conv1dOptions& options) {
  check_cpu(ctx);
  TUTTI_CHECK(weight.rank() == 3 && weight.is_contiguous() && is_weight_dtype(weight.dtype()),
              "a convolution's weight is [Cout, K, Cin], F32 or BF16");
  TUTTI_CHECK(options.residual.empty() || options.residual.size() == items.size(),
              "one residual per item");
  Region region(ctx);
  for (size_t i = 0; i < items.size(); ++i) {
    const Tensor* residual = options.residual.empty() ? nullptr : &options.residual[i];
    const LinearTask task = conv_task(items[i], weight, bias, options.dilation, residual);
    if (weight.dim(1) == 1 || task.rows < options.dilation * kPhaseRows) {
      region.add(task);
      continue;
    }
    for (int64_t phase = 0; phase < options.dilation; ++phase) {
      region.add(phase_of(task, phase, options.dilation));
    }
  }
  region.run();
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

void conv2d(OpContext& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
            const Conv2dOptions& options, const Tensor& out) {
  check_cpu(ctx);
  check_f32(x);
  check_f32(out);
  TUTTI_CHECK(x.rank() == 4 && out.rank() == 4 && x.is_contiguous() && out.is_contiguous(),
              "x is [N, T, F, Cin], out [N, T, F, Cout]");
  TUTTI_CHECK(weight.rank() == 4 && weight.dim(1) == weight.dim(2) && weight.dim(3) == x.dim(3) &&
                  weight.is_contiguous() && is_weight_dtype(weight.dtype()),
              "a weight is [Cout, K, K, Cin], F32 or BF16");
  const int64_t channels = weight.dim(0), kernel = weight.dim(1), stride = options.stride;
  const int64_t steps = (x.dim(1) - kernel) / stride + 1;
  const int64_t columns = (x.dim(2) - kernel) / stride + 1;
  const int64_t out_columns = columns + 2 * options.border;
  TUTTI_CHECK(out.dim(0) == x.dim(0) && out.dim(1) == steps + 2 * options.border &&
                  out.dim(2) == out_columns && out.dim(3) == channels,
              "out has the convolved size and its border");
  // One output time step is a linear map of its windows: K runs of K * Cin elements.
  LinearTask task{{}, columns, channels};
  cpu::LinearArgs& a = task.args;
  a.x_stride = stride * x.dim(3);
  a.w = weight.raw_data();
  a.w_is_bf16 = weight.dtype() == DType::kBF16;
  a.w_stride = kernel * kernel * x.dim(3);
  a.segments = kernel;
  a.segment_length = kernel * x.dim(3);
  a.x_segment_stride = x.dim(2) * x.dim(3);
  a.bias = param(bias, channels);
  a.act = static_cast<cpu::Act>(options.activation);
  a.out_stride = channels;
  Region region(ctx);
  for (int64_t item = 0; item < x.dim(0); ++item) {
    for (int64_t step = 0; step < steps; ++step) {
      a.x = x.data<float>() + (item * x.dim(1) + step * stride) * x.dim(2) * x.dim(3);
      a.out =
          out.data<float>() +
          ((item * out.dim(1) + step + options.border) * out_columns + options.border) * channels;
      region.add(task);
    }
  }
  region.run();
}

}  // namespace tutti::ops
