#include "ops/embedding.h"

#include <cstring>

#include "ops/parallel.h"

namespace tutti::ops {

namespace {

// Row `r` of a table, F32 or BF16.
cpu::Param table_row(const Tensor& table, int64_t r) {
  TUTTI_CHECK(r >= 0 && r < table.rows(), "an id is out of the table's range");
  const auto* base = static_cast<const std::byte*>(table.raw_data());
  return {base + static_cast<size_t>(r * table.row_stride()) * dtype_bytes(table.dtype()),
          table.dtype() == DType::kBF16};
}

void check_table(const Tensor& ids, const Tensor& table, const Tensor& out) {
  check_f32(out);
  TUTTI_CHECK(ids.dtype() == DType::kI32, "ids are I32");
  TUTTI_CHECK(is_weight_dtype(table.dtype()) && table.cols() == out.cols(),
              "table is [V, D], F32 or BF16");
}

}  // namespace

void embedding(OpContext& ctx, const Tensor& ids, const Tensor& table, const Tensor& out) {
  check_cpu(ctx);
  check_table(ids, table, out);
  TUTTI_CHECK(ids.num_elements() == out.rows(), "one id per row of out");
  const int32_t* id = ids.data<int32_t>();
  for_rows(ctx, out.rows(), out.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const cpu::Param from = table_row(table, id[t]);
      if (from.is_bf16) {
        cpu::kernels().to_f32(static_cast<const bf16*>(from.data), row(out, t), out.cols());
      } else {
        std::memcpy(row(out, t), from.data, static_cast<size_t>(out.cols()) * sizeof(float));
      }
    }
  });
}

void embedding_sum(OpContext& ctx, const Tensor& ids, const Tensor& table, int64_t rows_per_group,
                   float scale, const Tensor& out) {
  check_cpu(ctx);
  check_table(ids, table, out);
  TUTTI_CHECK(ids.rank() == 2 && ids.dim(0) == out.rows(), "ids are [T, G]");
  const int64_t groups = ids.dim(1), size = out.cols();
  for_rows(ctx, out.rows(), groups * size, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int32_t* id = ids.data<int32_t>() + t * ids.row_stride();
      float* sum = row(out, t);
      std::memset(sum, 0, static_cast<size_t>(size) * sizeof(float));
      for (int64_t g = 0; g < groups; ++g) {
        cpu::kernels().add_row(table_row(table, id[g] + g * rows_per_group), sum, size);
      }
      cpu::kernels().scale(sum, scale, sum, size);
    }
  });
}

void embedding_mix(OpContext& ctx, const Tensor& ids, const Tensor& weights, const Tensor& table,
                   const Tensor& out) {
  check_cpu(ctx);
  check_table(ids, table, out);
  check_f32(weights);
  check_same(ids, weights);
  TUTTI_CHECK(
      ids.rank() == 2 && ids.dim(0) == out.rows() && ids.is_contiguous() && weights.is_contiguous(),
      "ids and weights are [T, J]");
  const int64_t terms = ids.dim(1), size = out.cols();
  // Entries as they are summed: a bf16 table's are widened first.
  Workspace::Scope scratch(ctx.workspace);
  const Tensor entries = ctx.workspace.tensor(out.shape());
  for_rows(ctx, out.rows(), 2 * terms * size, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* sum = row(out, t);
      std::memset(sum, 0, static_cast<size_t>(size) * sizeof(float));
      for (int64_t j = t * terms; j < (t + 1) * terms; ++j) {
        const cpu::Param from = table_row(table, ids.data<int32_t>()[j]);
        const auto* entry = static_cast<const float*>(from.data);
        if (from.is_bf16) {
          cpu::kernels().to_f32(static_cast<const bf16*>(from.data), row(entries, t), size);
          entry = row(entries, t);
        }
        cpu::kernels().axpy(weights.data<float>()[j], entry, sum, size);
      }
    }
  });
}

}  // namespace tutti::ops
