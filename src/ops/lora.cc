#include "ops/lora.h"

#include "ops/lora_parts.h"
#include "ops/parallel.h"

namespace tutti {

void LoraRows::add(const LoraAdapter* adapter, int64_t count) {
  if (adapter != nullptr && count > 0) {
    if (!runs_.empty() && runs_.back().adapter == adapter && runs_.back().end == rows_) {
      runs_.back().end += count;
    } else {
      runs_.push_back({rows_, rows_ + count, adapter});
    }
  }
  rows_ += count;
}

void LoraRows::pick(const LoraRows* rows, std::span<const int32_t> index) {
  clear();
  if (rows == nullptr) return;
  auto run = rows->runs_.begin();
  for (const int32_t row : index) {
    while (run != rows->runs_.end() && run->end <= row) ++run;
    const bool adapted = run != rows->runs_.end() && run->begin <= row;
    add(adapted ? run->adapter : nullptr);
  }
}

namespace {

constexpr int64_t kTile = 16;  // columns side by side, as cpu::LowRankArgs wants them

template <typename T>
void pack(const T* b, int64_t columns, int64_t rank, T* out) {
  for (int64_t n = 0; n < columns; ++n) {
    T* tile = out + n / kTile * kTile * rank;
    for (int64_t r = 0; r < rank; ++r) tile[r * kTile + n % kTile] = b[n * rank + r];
  }
}

}  // namespace

Tensor pack_lora_b(const Tensor& b) {
  TUTTI_CHECK(b.rank() == 2 && b.is_contiguous(), "B is [out_features, rank]");
  const int64_t columns = b.dim(0), rank = b.dim(1);
  Tensor out = Tensor::zeros({(columns + kTile - 1) / kTile, rank, kTile}, b.dtype());
  if (b.dtype() == DType::kBF16) {
    pack(b.data<bf16>(), columns, rank, out.data<bf16>());
  } else {
    pack(b.data<float>(), columns, rank, out.data<float>());
  }
  return out;
}

namespace ops {
namespace {

// A piece of a part's columns for one thread.
constexpr int64_t kPieceColumns = 32 * kTile;

int64_t pieces_of(const LoraMatrices& matrices) {
  return (matrices.out_features + kPieceColumns - 1) / kPieceColumns;
}

LinearTask matrix_task(const Tensor& weight, const float* x, int64_t x_stride, float* out,
                       int64_t out_stride, int64_t rows) {
  LinearTask task{{}, rows, weight.dim(0)};
  task.args.x = x;
  task.args.x_stride = x_stride;
  task.args.w = weight.raw_data();
  task.args.w_is_bf16 = weight.dtype() == DType::kBF16;
  task.args.w_stride = weight.row_stride();
  task.args.segment_length = weight.dim(1);
  task.args.out = out;
  task.args.out_stride = out_stride;
  return task;
}

}  // namespace

LoraParts::LoraParts(OpContext& ctx, int64_t most) : ctx_(ctx), most_(most) {
  const auto bytes = most * static_cast<int64_t>(sizeof(Part));
  parts_ = static_cast<Part*>(ctx.workspace.tensor({bytes}, DType::kU8).raw_data());
}

void LoraParts::add(const LoraAdapter& adapter, int32_t map, const float* x, int64_t x_stride,
                    float* out, int64_t out_stride, int64_t rows) {
  const LoraMatrices& matrices = adapter.maps[static_cast<size_t>(map)];
  if (!matrices.a.defined()) return;
  TUTTI_CHECK(count_ < most_, "room was made for every part");
  const Tensor low = ctx_.workspace.tensor({rows, matrices.a.dim(0)});
  parts_[count_++] = {&matrices, x, x_stride, out, out_stride, rows, low.data<float>()};
}

void LoraParts::add_down(TaskList& tasks) const {
  for (int64_t i = 0; i < count_; ++i) {
    const Part& part = parts_[i];
    const Tensor& a = part.matrices->a;
    tasks.add(matrix_task(a, part.x, part.x_stride, part.low, a.dim(0), part.rows));
  }
}

void LoraParts::run_up() {
  int64_t pieces = 0, work = 0;
  for (int64_t i = 0; i < count_; ++i) {
    const Part& part = parts_[i];
    const int64_t low = part.rows * part.matrices->a.dim(0);
    cpu::kernels().scale(part.low, part.matrices->scale, part.low, low);
    pieces += pieces_of(*part.matrices);
    work += low * part.matrices->out_features;
  }
  if (pieces == 0) return;
  for_rows(ctx_, pieces, work / pieces, [&](int64_t begin, int64_t end) {
    int64_t first = 0;  // number of the part's first piece
    for (int64_t i = 0; i < count_ && first < end; ++i) {
      const int64_t next = first + pieces_of(*parts_[i].matrices);
      run_up_piece(parts_[i], std::max(begin, first) - first, std::min(end, next) - first);
      first = next;
    }
  });
}

void LoraParts::run_up_piece(const Part& part, int64_t begin, int64_t end) {
  if (begin >= end) return;
  const LoraMatrices& matrices = *part.matrices;
  const cpu::LowRankArgs args{part.low, param(matrices.b), matrices.a.dim(0), part.out,
                              part.out_stride};
  cpu::kernels().low_rank(args, part.rows, begin * kPieceColumns,
                          std::min(end * kPieceColumns, matrices.out_features));
}

}  // namespace ops
}  // namespace tutti
