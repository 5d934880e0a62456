#include "media/image_resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace tutti {
namespace {

constexpr int64_t kChannels = 3;
constexpr double kCubicSupport = 2.0;

// Keys' cubic with a = -0.5, what Pillow and PyTorch's antialiased resize use.
double cubic(double x) {
  constexpr double kA = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((kA + 2.0) * x - (kA + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * kA;
  return 0.0;
}

// For every output position the range of input positions and their weights, as integers times
// 2^-precision.
struct Taps {
  struct Range {
    int64_t first;
    int64_t count;
  };
  std::vector<Range> ranges;
  std::vector<int16_t> weights;  // `stride` per output position
  int64_t stride = 0;
  int precision = 0;
};

// The most bits with which the largest weight still fits 16 bits.
int weight_precision(double largest) {
  int precision = 0;
  while (precision < 22 && static_cast<int>(0.5 + largest * (1 << (precision + 1))) < (1 << 15)) {
    ++precision;
  }
  return precision;
}

Taps make_taps(int64_t in, int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = std::max(scale, 1.0);
  const double support = kCubicSupport * stretch;
  Taps taps;
  taps.stride = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  std::vector<double> exact(out * taps.stride);
  double largest = 0;
  for (int64_t i = 0; i < out; ++i) {
    const double centre = scale * (static_cast<double>(i) + 0.5);
    const int64_t first = std::max(static_cast<int64_t>(centre - support + 0.5), int64_t{0});
    const int64_t last = std::min(static_cast<int64_t>(centre + support + 0.5), in);
    double* weights = exact.data() + i * taps.stride;
    double sum = 0;
    for (int64_t j = first; j < last; ++j) {
      weights[j - first] = cubic((static_cast<double>(j) - centre + 0.5) / stretch);
      sum += weights[j - first];
    }
    for (int64_t j = 0; j < last - first; ++j) {
      weights[j] /= sum;
      largest = std::max(largest, weights[j]);
    }
    taps.ranges.push_back({first, last - first});
  }
  taps.precision = weight_precision(largest);
  taps.weights.resize(exact.size());
  for (size_t i = 0; i < exact.size(); ++i) {
    // Halves go away from zero.
    taps.weights[i] = static_cast<int16_t>(std::round(exact[i] * (1 << taps.precision)));
  }
  return taps;
}

uint8_t to_level(int32_t sum, int precision) {
  return static_cast<uint8_t>(std::clamp(sum >> precision, 0, 255));
}

void resize_rows(const uint8_t* in, int64_t height, int64_t in_width, int64_t out_width,
                 const Taps& taps, uint8_t* out) {
  const int32_t half = 1 << (taps.precision - 1);
  for (int64_t y = 0; y < height; ++y) {
    const uint8_t* row = in + y * in_width * kChannels;
    for (int64_t x = 0; x < out_width; ++x) {
      const auto [first, count] = taps.ranges[x];
      const int16_t* weights = taps.weights.data() + x * taps.stride;
      const uint8_t* pixel = row + first * kChannels;
      int32_t r = half, g = half, b = half;
      for (int64_t j = 0; j < count; ++j, pixel += kChannels) {
        r += weights[j] * pixel[0];
        g += weights[j] * pixel[1];
        b += weights[j] * pixel[2];
      }
      *out++ = to_level(r, taps.precision);
      *out++ = to_level(g, taps.precision);
      *out++ = to_level(b, taps.precision);
    }
  }
}

void resize_columns(const uint8_t* in, int64_t row_bytes, int64_t out_height, const Taps& taps,
                    uint8_t* out) {
  std::vector<int32_t> sums(row_bytes);
  for (int64_t y = 0; y < out_height; ++y) {
    const auto [first, count] = taps.ranges[y];
    std::fill(sums.begin(), sums.end(), 1 << (taps.precision - 1));
    for (int64_t j = 0; j < count; ++j) {
      const int32_t weight = taps.weights[y * taps.stride + j];
      const uint8_t* row = in + (first + j) * row_bytes;
      for (int64_t i = 0; i < row_bytes; ++i) sums[i] += weight * row[i];
    }
    for (int64_t i = 0; i < row_bytes; ++i) *out++ = to_level(sums[i], taps.precision);
  }
}

}  // namespace

Tensor resize_bicubic(const Tensor& rgb, Size size) {
  TUTTI_CHECK(rgb.rank() == 3 && rgb.dim(2) == kChannels && rgb.dtype() == DType::kU8 &&
                  rgb.is_contiguous(),
              "a picture is contiguous U8 [H, W, 3]");
  Tensor current = rgb;
  if (size.width != rgb.dim(1)) {
    Tensor wide = Tensor::empty(Shape{rgb.dim(0), size.width, kChannels}, DType::kU8);
    resize_rows(rgb.data<uint8_t>(), rgb.dim(0), rgb.dim(1), size.width,
                make_taps(rgb.dim(1), size.width), wide.data<uint8_t>());
    current = wide;
  }
  if (size.height != rgb.dim(0)) {
    Tensor high = Tensor::empty(Shape{size.height, size.width, kChannels}, DType::kU8);
    resize_columns(current.data<uint8_t>(), size.width * kChannels, size.height,
                   make_taps(rgb.dim(0), size.height), high.data<uint8_t>());
    current = high;
  }
  return current;
}

}  // namespace tutti
