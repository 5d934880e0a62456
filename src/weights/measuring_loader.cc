#include "weights/measuring_loader.h"

namespace tutti {

bool MeasuringLoader::has(const std::string& name) const {
  return checkpoint_ == nullptr || checkpoint_->find(name) != nullptr;
}

DType MeasuringLoader::matrix_dtype(const std::string& name) const {
  if (dtype_) return *dtype_;
  const CheckpointTensor* found = checkpoint_ ? checkpoint_->find(name) : nullptr;
  return found != nullptr && found->entry->dtype == DType::kF32 ? DType::kF32 : DType::kBF16;
}

// As the loaders choose: matrices in the wanted dtype, vectors in the checkpoint's precision, and
// what is repacked (now_as_f32) ends as a matrix of the wanted dtype.
Tensor MeasuringLoader::do_get(const std::string& name, const Shape& shape, bool now_as_f32) {
  const auto elements = static_cast<size_t>(shape.num_elements());
  const CheckpointTensor* found = checkpoint_ ? checkpoint_->find(name) : nullptr;
  DType target = shape.rank() >= 2 ? matrix_dtype(name) : DType::kF32;
  if (found != nullptr && shape.rank() < 2 && !now_as_f32) {
    const DType own = found->entry->dtype;
    target = own == DType::kF32 || own == DType::kF64 ? DType::kF32 : DType::kBF16;
  }
  const bool mapped = found != nullptr && !now_as_f32 && target == found->entry->dtype &&
                      found->file->is_aligned(*found->entry);
  (mapped ? mapped_bytes_ : copied_bytes_) += elements * dtype_bytes(target);
  return Tensor();
}

}  // namespace tutti
