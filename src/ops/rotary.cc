#include "ops/rotary.h"

#include <cmath>

#include "ops/parallel.h"

namespace tutti::ops {

void rotary_cos_sin(OpContext& ctx, const Tensor& positions, const Tensor& inv_freq,
                    const Tensor& axis, const Tensor& cos, const Tensor& sin) {
  check_cpu(ctx);
  for (const Tensor* t : {&positions, &inv_freq, &cos, &sin}) check_f32(*t);
  check_same(cos, sin);
  const int64_t half = inv_freq.num_elements();
  TUTTI_CHECK(axis.dtype() == DType::kI32 && axis.num_elements() == half, "axis is [D/2] I32");
  TUTTI_CHECK(cos.cols() == half && positions.cols() == cos.rows(), "cos and sin are [T, D/2]");
  const float* frequencies = inv_freq.data<float>();
  const int32_t* axes = axis.data<int32_t>();
  constexpr int64_t kWorkEach = 100;  // two calls of the C library
  for_rows(ctx, cos.rows(), half * kWorkEach, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t i = 0; i < half; ++i) {
        // The angle is rounded to F32 as in the reference implementation.
        const float angle = row(positions, axes[i])[t] * frequencies[i];
        row(cos, t)[i] = std::cos(angle);
        row(sin, t)[i] = std::sin(angle);
      }
    }
  });
}

void apply_rotary(OpContext& ctx, const Tensor& x, const Tensor& cos, const Tensor& sin) {
  check_cpu(ctx);
  for (const Tensor* t : {&x, &cos, &sin}) check_f32(*t);
  check_same(cos, sin);
  const int64_t tokens = cos.rows(), half = cos.cols();
  const HeadRows rows = head_rows(x, 2 * half);
  TUTTI_CHECK(rows.tokens == tokens, "x and cos must have the same number of tokens");
  for_rows(ctx, tokens, rows.heads * half * 4, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t h = 0; h < rows.heads; ++h) {
        cpu::kernels().rotary(rows.at(t, h), row(cos, t), row(sin, t), half);
      }
    }
  });
}

}  // namespace tutti::ops
