// Shape: up to six dimensions, by value, no allocation.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace tutti {

class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims);

  int rank() const { return rank_; }
  // Negative i counts from the end, as in PyTorch.
  int64_t dim(int i) const { return dims_[i < 0 ? i + rank_ : i]; }
  int64_t operator[](int i) const { return dim(i); }
  void set_dim(int i, int64_t value) { dims_[i < 0 ? i + rank_ : i] = value; }
  int64_t num_elements() const;
  std::span<const int64_t> dims() const { return {dims_.data(), static_cast<size_t>(rank_)}; }
  bool operator==(const Shape& other) const;
  // "[4, 128]"
  std::string to_string() const;

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

}  // namespace tutti
