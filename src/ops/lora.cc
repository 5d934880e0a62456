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

namespace ops {
namespace {

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
  TaskList tasks(ctx_);
  for (int64_t i = 0; i < count_; ++i) {
    const Part& part = parts_[i];
    const Tensor& b = part.matrices->b;
    cpu::kernels().scale(part.low, part.matrices->scale, part.low, part.rows * b.dim(1));
    LinearTask task = matrix_task(b, part.low, b.dim(1), part.out, part.out_stride, part.rows);
    task.args.residual = part.out;
    task.args.residual_stride = part.out_stride;
    tasks.add(task);
  }
}

}  // namespace ops
}  // namespace tutti
