// How ops divide work over the pool, and the checks they share.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/context.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/thread_pool.h"
#include "base/check.h"

namespace tutti::ops {

// Work below this many elementary operations (about 20 us on one core) is not worth another thread.
inline constexpr int64_t kParallelWork = 100'000;

inline int pool_threads(const OpContext& ctx) {
  return ctx.pool == nullptr ? 1 : ctx.pool->num_threads();
}

// body(begin, end) over [0, n), where each item costs about `work_each` elementary operations.
template <typename Body>
void for_rows(OpContext& ctx, int64_t n, int64_t work_each, const Body& body) {
  if (n <= 0) return;
  const int64_t threads = pool_threads(ctx);
  if (threads == 1 || n * work_each < kParallelWork) {
    body(int64_t{0}, n);
    return;
  }
  const int64_t smallest =
      std::max<int64_t>(kParallelWork / 8 / std::max<int64_t>(work_each, 1), 1);
  const int64_t grain = std::max(smallest, (n + threads * 4 - 1) / (threads * 4));
  ctx.pool->parallel_for(n, grain, [&](int64_t begin, int64_t end, int) { body(begin, end); });
}

inline void check_cpu(const OpContext& ctx) {
  TUTTI_CHECK(ctx.device.kind == Device::Kind::kCpu, "this build has kernels for the CPU only");
}
inline void check_f32(const Tensor& t) {
  TUTTI_CHECK(t.dtype() == DType::kF32, "activations are F32");
}
inline void check_same(const Tensor& a, const Tensor& b) {
  TUTTI_CHECK(a.shape() == b.shape(), "shapes must be equal");
}
inline bool is_weight_dtype(DType dtype) { return dtype == DType::kF32 || dtype == DType::kBF16; }

// Parameters of a row: F32 or BF16, contiguous, or undefined.
inline cpu::Param param(const Tensor& t) {
  TUTTI_CHECK(!t.defined() || is_weight_dtype(t.dtype()), "parameters are F32 or BF16");
  return {t.raw_data(), t.dtype() == DType::kBF16};
}
inline cpu::Param param(const Tensor& t, int64_t size) {
  TUTTI_CHECK(!t.defined() || t.num_elements() == size, "a parameter has the row's size");
  return param(t);
}
inline float* row(const Tensor& t, int64_t r) {
  return static_cast<float*>(t.raw_data()) + r * t.row_stride();
}

// The heads of packed tokens: [T, heads, D], or [T, heads * D] with rows that may be strided (a
// column range of one wide projection).
struct HeadRows {
  float* data;
  int64_t tokens;
  int64_t heads;
  int64_t token_stride;
  int64_t head_stride;
  float* at(int64_t token, int64_t head) const {
    return data + token * token_stride + head * head_stride;
  }
};
inline HeadRows head_rows(const Tensor& x, int64_t head_dim) {
  check_f32(x);
  if (x.rank() == 3) {
    TUTTI_CHECK(x.dim(2) == head_dim, "the last dimension is head_dim");
    return {x.data<float>(), x.dim(0), x.dim(1), x.dim(1) * x.row_stride(), x.row_stride()};
  }
  TUTTI_CHECK(x.rank() == 2 && x.cols() % head_dim == 0, "x is [T, heads, D] or [T, heads * D]");
  return {x.data<float>(), x.dim(0), x.cols() / head_dim, x.row_stride(), head_dim};
}

}  // namespace tutti::ops
