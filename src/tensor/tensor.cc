#include "tensor/tensor.h"

#include <algorithm>
#include <cstdlib>

namespace tutti {

std::string device_name(Device device) {
  if (device.kind == Device::Kind::kCpu) return "cpu";
  return "cuda:" + std::to_string(device.index);
}

Storage::Storage(void* data, size_t bytes, Device device, std::function<void(void*)> release)
    : data_(static_cast<std::byte*>(data)),
      bytes_(bytes),
      device_(device),
      release_(std::move(release)) {}

Storage::~Storage() {
  if (release_) release_(data_);
}

std::shared_ptr<Storage> allocate_host(size_t bytes) {
  constexpr size_t kAlignment = 64;  // one cache line, one AVX-512 register
  const size_t rounded = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  void* data = std::aligned_alloc(kAlignment, rounded);
  TUTTI_CHECK(data != nullptr, "out of host memory");
  return std::make_shared<Storage>(data, bytes, Device{}, [](void* p) { std::free(p); });
}

Tensor::Tensor(std::shared_ptr<Storage> storage, size_t byte_offset, DType dtype, Shape shape)
    : storage_(std::move(storage)), shape_(shape), dtype_(dtype) {
  TUTTI_CHECK(byte_offset + bytes() <= storage_->bytes(), "tensor reaches past its storage");
  data_ = storage_->data() + byte_offset;
  row_stride_ = cols();
}

Tensor Tensor::empty(Shape shape, DType dtype) {
  const size_t bytes = static_cast<size_t>(shape.num_elements()) * dtype_bytes(dtype);
  return Tensor(allocate_host(bytes), 0, dtype, shape);
}

Tensor Tensor::zeros(Shape shape, DType dtype) {
  Tensor out = empty(shape, dtype);
  std::memset(out.raw_data(), 0, out.bytes());
  return out;
}

Tensor Tensor::borrow(void* data, DType dtype, Shape shape) {
  const size_t bytes = static_cast<size_t>(shape.num_elements()) * dtype_bytes(dtype);
  return Tensor(std::make_shared<Storage>(data, bytes, Device{}, nullptr), 0, dtype, shape);
}

int64_t Tensor::rows() const {
  int64_t n = 1;
  for (int i = 0; i + 1 < rank(); ++i) n *= shape_.dim(i);
  return n;
}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  TUTTI_CHECK(rank() >= 1 && begin >= 0 && begin <= end && end <= dim(0), "slice out of range");
  Tensor out = *this;
  int64_t rows_each = 1;
  for (int i = 1; i + 1 < rank(); ++i) rows_each *= dim(i);
  const int64_t elements_each = rank() == 1 ? 1 : rows_each * row_stride_;
  out.data_ = static_cast<std::byte*>(data_) + begin * elements_each * dtype_bytes(dtype_);
  out.shape_.set_dim(0, end - begin);
  if (rank() == 1) out.row_stride_ = end - begin;
  return out;
}

Tensor Tensor::columns(int64_t begin, int64_t end) const {
  TUTTI_CHECK(rank() >= 1 && begin >= 0 && begin <= end && end <= cols(), "columns out of range");
  Tensor out = *this;
  out.data_ = static_cast<std::byte*>(data_) + begin * dtype_bytes(dtype_);
  out.shape_.set_dim(-1, end - begin);
  return out;
}

Tensor Tensor::reshape(Shape shape) const {
  TUTTI_CHECK(is_contiguous(), "only a contiguous tensor can be reshaped");
  TUTTI_CHECK(shape.num_elements() == num_elements(), "reshape must keep the number of elements");
  Tensor out = *this;
  out.shape_ = shape;
  out.row_stride_ = out.cols();
  return out;
}

Tensor Tensor::select(int64_t i) const {
  TUTTI_CHECK(rank() >= 2, "select needs at least two dimensions");
  Tensor out = slice(i, i + 1);
  out.shape_ = Shape(shape_.dims().subspan(1));
  if (out.rank() == 1) out.row_stride_ = out.cols();
  return out;
}

Tensor Tensor::clone() const {
  Tensor out = empty(shape_, dtype_);
  const size_t row_bytes = static_cast<size_t>(cols()) * dtype_bytes(dtype_);
  const size_t stride_bytes = static_cast<size_t>(row_stride_) * dtype_bytes(dtype_);
  for (int64_t r = 0; r < rows(); ++r) {
    std::memcpy(static_cast<std::byte*>(out.data_) + r * row_bytes,
                static_cast<const std::byte*>(data_) + r * stride_bytes, row_bytes);
  }
  return out;
}

}  // namespace tutti
