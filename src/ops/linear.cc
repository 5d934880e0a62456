#include "ops/linear.h"

#include "ops/linear_tasks.h"
#include "ops/parallel.h"

namespace tutti::ops {

namespace {

cpu::LinearArgs linear_args(const Tensor& x, const Tensor& weight, const Tensor& bias,
                            const Tensor& out) {
  check_f32(x);
  check_f32(out);
  TUTTI_CHECK(weight.rank() == 2 && is_weight_dtype(weight.dtype()),
              "a linear weight is [N, K], F32 or BF16");
  TUTTI_CHECK(x.cols() == weight.dim(1), "x and weight must agree in K");
  TUTTI_CHECK(out.cols() == weight.dim(0) && out.rows() == x.rows(), "out must be [T, N]");
  cpu::LinearArgs a;
  a.x = x.data<float>();
  a.x_stride = x.row_stride();
  a.w = weight.raw_data();
  a.w_is_bf16 = weight.dtype() == DType::kBF16;
  a.w_stride = weight.row_stride();
  a.segment_length = weight.dim(1);
  a.bias = param(bias, weight.dim(0));
  a.out = out.data<float>();
  a.out_stride = out.row_stride();
  return a;
}

}  // namespace

void linear(OpContext& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
            const Tensor& out, const LinearOptions& options) {
  check_cpu(ctx);
  cpu::LinearArgs a = linear_args(x, weight, bias, out);
  a.act = static_cast<cpu::Act>(options.activation);
  if (options.residual != nullptr) {
    check_f32(*options.residual);
    check_same(*options.residual, out);
    a.residual = options.residual->data<float>();
    a.residual_stride = options.residual->row_stride();
  }
  const LinearTask task{a, x.rows(), weight.dim(0)};
  run_linear_tasks(ctx, {&task, 1});
}

void linear_many(OpContext& ctx, const Tensor& x, std::span<const Projection> projections) {
  check_cpu(ctx);
  constexpr size_t kMaxProjections = 8;
  TUTTI_CHECK(projections.size() <= kMaxProjections, "at most 8 projections at once");
  LinearTask tasks[kMaxProjections];
  size_t n = 0;
  for (const Projection& p : projections) {
    tasks[n++] = {linear_args(x, p.weight, p.bias, p.out), x.rows(), p.weight.dim(0)};
  }
  run_linear_tasks(ctx, {tasks, n});
}

}  // namespace tutti::ops
