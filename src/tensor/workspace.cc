#include "tensor/workspace.h"

#include <algorithm>

namespace tutti {

namespace {
constexpr size_t kAlignment = 64;
constexpr size_t kFirstBlockBytes = size_t{1} << 20;
}  // namespace

Tensor Workspace::tensor(Shape shape, DType dtype) {
  const size_t bytes = static_cast<size_t>(shape.num_elements()) * dtype_bytes(dtype);
  const size_t rounded = std::max((bytes + kAlignment - 1) / kAlignment * kAlignment, kAlignment);
  while (block_ < blocks_.size() && used_ + rounded > blocks_[block_]->bytes()) {
    ++block_;
    used_ = 0;
  }
  if (block_ == blocks_.size()) {
    const size_t last = blocks_.empty() ? kFirstBlockBytes : 2 * blocks_.back()->bytes();
    blocks_.push_back(allocate_(std::max(last, rounded)));
  }
  Tensor out(blocks_[block_], used_, dtype, shape);
  used_ += rounded;
  size_t in_use = used_;
  for (size_t i = 0; i < block_; ++i) in_use += blocks_[i]->bytes();
  high_water_ = std::max(high_water_, in_use);
  return out;
}

void Workspace::reserve(size_t bytes) {
  size_t total = 0;
  for (const auto& block : blocks_) total += block->bytes();
  high_water_ = std::max(high_water_, bytes);
  if (total < bytes && block_ == 0 && used_ == 0) {
    blocks_.clear();
    blocks_.push_back(allocate_(bytes));
  }
}

void Workspace::rewind(size_t block, size_t used) {
  block_ = block;
  used_ = used;
  // Several blocks mean that the need has grown: one block of the whole size serves from now on.
  if (block_ == 0 && used_ == 0 && blocks_.size() > 1) merge_blocks();
}

void Workspace::merge_blocks() {
  blocks_.clear();
  blocks_.push_back(allocate_(high_water_));
}

}  // namespace tutti
