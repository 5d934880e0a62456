// Tensor: a typed, shaped view over shared storage on one device.
//
// Invariants: the last dimension is contiguous; rows (all leading dimensions) may be strided by
// row_stride() elements, so that a column range of a matrix is a view too. Copying a Tensor copies
// the handle, never the data. Model code passes tensors on; only kernels (and tests, samplers,
// codecs on a CPU tensor) look inside.
// Thread: handles may be copied by any thread; who writes the data is the owner's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace tutti {

struct Device {
  enum class Kind : uint8_t { kCpu, kCuda };
  Kind kind = Kind::kCpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};
std::string device_name(Device device);

// Memory with an owner: heap, a mapped file, an arena, device memory. Freed with the last handle.
class Storage {
 public:
  // Takes over `data`; `release` is called once with it (may be empty for borrowed memory).
  Storage(void* data, size_t bytes, Device device, std::function<void(void*)> release);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  std::byte* data_;
  size_t bytes_;
  Device device_;
  std::function<void(void*)> release_;
};

// 64-byte aligned host memory.
std::shared_ptr<Storage> allocate_host(size_t bytes);

class Tensor {
 public:
  Tensor() = default;
  Tensor(std::shared_ptr<Storage> storage, size_t byte_offset, DType dtype, Shape shape);

  // New uninitialised host memory.
  static Tensor empty(Shape shape, DType dtype = DType::kF32);
  static Tensor zeros(Shape shape, DType dtype = DType::kF32);
  // A view of memory that the caller keeps alive.
  static Tensor borrow(void* data, DType dtype, Shape shape);
  template <typename T>
  static Tensor from_vector(const std::vector<T>& values, Shape shape);

  bool defined() const { return data_ != nullptr; }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_ ? storage_->device() : Device{}; }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  int64_t dim(int i) const { return shape_.dim(i); }
  int64_t num_elements() const { return shape_.num_elements(); }
  size_t bytes() const { return static_cast<size_t>(num_elements()) * dtype_bytes(dtype_); }
  // Product of all dimensions but the last; a vector is one row.
  int64_t rows() const;
  // Size of the last dimension.
  int64_t cols() const { return rank() == 0 ? 1 : shape_.dim(-1); }
  // Elements between the starts of two rows; cols() when contiguous.
  int64_t row_stride() const { return row_stride_; }
  bool is_contiguous() const { return row_stride_ == cols() || rows() <= 1; }

  void* raw_data() const { return data_; }
  template <typename T>
  T* data() const;

  // Rows [begin, end) of the first dimension.
  Tensor slice(int64_t begin, int64_t end) const;
  // Columns [begin, end) of the last dimension; shares memory, row stride kept.
  Tensor columns(int64_t begin, int64_t end) const;
  // The same elements under another shape; needs a contiguous tensor.
  Tensor reshape(Shape shape) const;
  // Index `i` of the first dimension, which is dropped.
  Tensor select(int64_t i) const;
  // A deep host copy, contiguous.
  Tensor clone() const;

  const std::shared_ptr<Storage>& storage() const { return storage_; }

 private:
  std::shared_ptr<Storage> storage_;
  void* data_ = nullptr;
  Shape shape_;
  int64_t row_stride_ = 0;
  DType dtype_ = DType::kF32;
};

template <typename T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::kF32;
}
template <>
constexpr DType dtype_of<bf16>() {
  return DType::kBF16;
}
template <>
constexpr DType dtype_of<double>() {
  return DType::kF64;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::kI64;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::kI32;
}
template <>
constexpr DType dtype_of<int16_t>() {
  return DType::kI16;
}
template <>
constexpr DType dtype_of<int8_t>() {
  return DType::kI8;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::kU8;
}

template <typename T>
T* Tensor::data() const {
  TUTTI_DCHECK(!defined() || dtype_of<T>() == dtype_, "tensor read as another dtype");
  return static_cast<T*>(data_);
}

template <typename T>
Tensor Tensor::from_vector(const std::vector<T>& values, Shape shape) {
  Tensor out = empty(shape, dtype_of<T>());
  TUTTI_CHECK(static_cast<int64_t>(values.size()) == out.num_elements(), "values must fill shape");
  std::memcpy(out.raw_data(), values.data(), out.bytes());
  return out;
}

}  // namespace tutti
