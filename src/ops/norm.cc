#include "ops/norm.h"

#include "ops/parallel.h"

namespace tutti::ops {

void rms_norm(OpContext& ctx, const Tensor& x, const Tensor& weight, float eps, const Tensor& out) {
  check_cpu(ctx);
  check_f32(x);
  check_f32(out);
  check_same(x, out);
  const cpu::Param w = param(weight, x.cols());
  for_rows(ctx, x.rows(), 2 * x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      cpu::kernels().rms_norm(row(x, r), w, eps, row(out, r), x.cols());
    }
  });
}

void add_rms_norm(OpContext& ctx, const Tensor& x, const Tensor& residual, const Tensor& weight,
                  float eps, const Tensor& out) {
  check_cpu(ctx);
  check_f32(x);
  check_f32(residual);
  check_f32(out);
  check_same(x, residual);
  check_same(x, out);
  const cpu::Param w = param(weight, x.cols());
  for_rows(ctx, x.rows(), 3 * x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      cpu::kernels().add(row(residual, r), row(x, r), row(residual, r), x.cols());
      cpu::kernels().rms_norm(row(residual, r), w, eps, row(out, r), x.cols());
    }
  });
}

void layer_norm(OpContext& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
                float eps, const Tensor& out) {
  check_cpu(ctx);
  check_f32(x);
  check_f32(out);
  check_same(x, out);
  const cpu::Param w = param(weight, x.cols()), b = param(bias, x.cols());
  for_rows(ctx, x.rows(), 3 * x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      cpu::kernels().layer_norm(row(x, r), w, b, eps, row(out, r), x.cols());
    }
  });
}

}  // namespace tutti::ops
