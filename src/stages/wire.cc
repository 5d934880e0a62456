#include "stages/wire.h"

#include <fmt/format.h>

#include <limits>

namespace tutti {

// --- writing

void WireWriter::raw(void* data, size_t bytes) {
  const auto* from = static_cast<const std::byte*>(data);
  meta_.insert(meta_.end(), from, from + bytes);
}

size_t WireWriter::length(size_t size) {
  auto count = static_cast<uint64_t>(size);
  raw(&count, sizeof count);
  return size;
}

void WireWriter::tensor(Tensor& tensor) {
  bool defined = tensor.defined();
  wire_transfer(*this, defined);
  if (!defined) return;
  auto dtype = static_cast<uint8_t>(tensor.dtype());
  auto rank = static_cast<uint8_t>(tensor.rank());
  (*this)(dtype, rank);
  for (int64_t dim : tensor.shape().dims()) wire_transfer(*this, dim);
  auto offset = static_cast<uint64_t>(tensor_bytes_);
  wire_transfer(*this, offset);
  tensors_.push_back(tensor);
  tensor_bytes_ = wire_align(tensor_bytes_ + tensor.bytes());
}

size_t WireWriter::body_bytes() const {
  return tensors_.empty() ? meta_.size() : wire_align(meta_.size()) + tensor_bytes_;
}

void WireWriter::copy_body(std::byte* to) const {
  if (!meta_.empty()) std::memcpy(to, meta_.data(), meta_.size());
  std::byte* at = to + wire_align(meta_.size());
  for (const Tensor& tensor : tensors_) {
    const size_t row_bytes = static_cast<size_t>(tensor.cols()) * dtype_bytes(tensor.dtype());
    const size_t stride = static_cast<size_t>(tensor.row_stride()) * dtype_bytes(tensor.dtype());
    const auto* from = static_cast<const std::byte*>(tensor.raw_data());
    if (tensor.bytes() > 0 && tensor.is_contiguous()) {
      std::memcpy(at, from, tensor.bytes());
    } else if (tensor.bytes() > 0) {
      for (int64_t row = 0; row < tensor.rows(); ++row) {
        std::memcpy(at + static_cast<size_t>(row) * row_bytes,
                    from + static_cast<size_t>(row) * stride, row_bytes);
      }
    }
    at += wire_align(tensor.bytes());
  }
}

void WireWriter::clear() {
  meta_.clear();
  tensors_.clear();
  tensor_bytes_ = 0;
}

// --- reading

void WireReader::raw(void* data, size_t bytes) {
  if (bytes == 0) return;
  if (bytes > left()) {
    fail("the end of the message");
    std::memset(data, 0, bytes);
    return;
  }
  std::memcpy(data, meta_.data() + at_, bytes);
  at_ += bytes;
}

size_t WireReader::length(size_t) {
  uint64_t count = 0;
  raw(&count, sizeof count);
  // Every element takes at least one byte.
  if (count > left()) fail("a list that is longer than the message");
  return ok() ? static_cast<size_t>(count) : 0;
}

void WireReader::tensor(Tensor& tensor) {
  tensor = Tensor();
  bool defined = false;
  wire_transfer(*this, defined);
  if (!defined) return;
  uint8_t dtype = 0, rank = 0;
  (*this)(dtype, rank);
  if (dtype > static_cast<uint8_t>(DType::kBool)) return fail("an unknown dtype");
  if (rank > Shape::kMaxRank) return fail("a tensor of too many dimensions");
  std::array<int64_t, Shape::kMaxRank> dims{};
  auto bytes = static_cast<int64_t>(dtype_bytes(static_cast<DType>(dtype)));
  for (int i = 0; i < rank; ++i) {
    wire_transfer(*this, dims[i]);
    if (dims[i] < 0) return fail("a negative dimension");
    if (__builtin_mul_overflow(bytes, dims[i], &bytes)) {
      return fail("a tensor that is too large");
    }
  }
  uint64_t offset = 0;
  wire_transfer(*this, offset);
  if (!ok()) return;
  const size_t begin = wire_align(meta_.size());
  const size_t room = body_ && body_->bytes() > begin ? body_->bytes() - begin : 0;
  if (offset % kWireAlignment != 0 || offset > room ||
      static_cast<uint64_t>(bytes) > room - offset) {
    return fail("a tensor outside the message");
  }
  const std::span<const int64_t> used(dims.data(), rank);
  if (bytes == 0) {
    tensor = Tensor::empty(Shape(used), static_cast<DType>(dtype));
  } else {
    tensor = Tensor(body_, begin + offset, static_cast<DType>(dtype), Shape(used));
  }
}

Status WireReader::finish() const {
  if (!ok()) return internal_error(fmt::format("A message between processes has {}.", error_));
  if (left() > 0) {
    return internal_error(
        fmt::format("A message between processes has {} bytes too many.", left()));
  }
  return {};
}

}  // namespace tutti
