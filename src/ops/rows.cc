// Row moves: copies, casts, gathers and scatters.
#include <cstring>

#include "ops/elementwise.h"
#include "ops/parallel.h"

namespace tutti::ops {

namespace {

const int32_t* indices(const Tensor& index, int64_t count) {
  TUTTI_CHECK(index.dtype() == DType::kI32 && index.num_elements() == count, "index is [n] I32");
  return index.data<int32_t>();
}
void check_rows(const Tensor& a, const Tensor& b) {
  check_f32(a);
  check_f32(b);
  TUTTI_CHECK(a.cols() == b.cols(), "rows must have the same size");
}

}  // namespace

void copy(OpContext& ctx, const Tensor& from, const Tensor& to) {
  check_cpu(ctx);
  check_same(from, to);
  TUTTI_CHECK(from.dtype() == to.dtype(), "copy keeps the dtype");
  const size_t size = dtype_bytes(from.dtype());
  const size_t row_bytes = static_cast<size_t>(from.cols()) * size;
  const size_t from_stride = static_cast<size_t>(from.row_stride()) * size;
  const size_t to_stride = static_cast<size_t>(to.row_stride()) * size;
  const auto* source = static_cast<const std::byte*>(from.raw_data());
  auto* target = static_cast<std::byte*>(to.raw_data());
  for_rows(ctx, from.rows(), from.cols(), [&](int64_t begin, int64_t end) {
    if (row_bytes == from_stride && row_bytes == to_stride) {
      std::memcpy(target + begin * row_bytes, source + begin * row_bytes,
                  static_cast<size_t>(end - begin) * row_bytes);
      return;
    }
    for (int64_t r = begin; r < end; ++r) {
      std::memcpy(target + r * to_stride, source + r * from_stride, row_bytes);
    }
  });
}

void cast(OpContext& ctx, const Tensor& from, const Tensor& to) {
  check_f32(to);
  if (from.dtype() == DType::kF32) {
    copy(ctx, from, to);
    return;
  }
  check_cpu(ctx);
  check_same(from, to);
  TUTTI_CHECK(from.dtype() == DType::kBF16, "cast takes F32 or BF16");
  for_rows(ctx, to.rows(), to.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      cpu::kernels().to_f32(from.data<bf16>() + r * from.row_stride(), row(to, r), to.cols());
    }
  });
}

void gather_rows(OpContext& ctx, const Tensor& x, const Tensor& index, const Tensor& out) {
  check_cpu(ctx);
  check_rows(x, out);
  const int32_t* from = indices(index, out.rows());
  const size_t row_bytes = static_cast<size_t>(out.cols()) * sizeof(float);
  for_rows(ctx, out.rows(), out.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) std::memcpy(row(out, r), row(x, from[r]), row_bytes);
  });
}

void scatter_rows(OpContext& ctx, const Tensor& x, const Tensor& index, const Tensor& out) {
  check_cpu(ctx);
  check_rows(x, out);
  const int32_t* to = indices(index, x.rows());
  const size_t row_bytes = static_cast<size_t>(out.cols()) * sizeof(float);
  for_rows(ctx, x.rows(), x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) std::memcpy(row(out, to[r]), row(x, r), row_bytes);
  });
}

void scatter_add_rows(OpContext& ctx, const Tensor& x, const Tensor& index, const Tensor& out) {
  check_cpu(ctx);
  check_rows(x, out);
  const int32_t* to = indices(index, x.rows());
  for_rows(ctx, x.rows(), x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* target = row(out, to[r]);
      cpu::kernels().add(target, row(x, r), target, x.cols());
    }
  });
}

void fill_zero(OpContext& ctx, const Tensor& to) {
  check_cpu(ctx);
  const size_t size = dtype_bytes(to.dtype());
  auto* target = static_cast<std::byte*>(to.raw_data());
  for_rows(ctx, to.rows(), to.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      std::memset(target + static_cast<size_t>(r * to.row_stride()) * size, 0,
                  static_cast<size_t>(to.cols()) * size);
    }
  });
}

}  // namespace tutti::ops
