#include "weights/convert.h"

#include <bit>
#include <cstring>

#include "base/check.h"

namespace tutti {

bool is_float_dtype(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16 ||
         dtype == DType::kF64;
}

float half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1Fu;
  const uint32_t fraction = bits & 0x3FFu;
  if (exponent == 0) {  // zero and subnormals: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t wide = exponent == 31 ? 0xFFu : exponent + 112;  // 127 - 15
  return std::bit_cast<float>(sign | (wide << 23) | (fraction << 13));
}

namespace {

template <typename T>
T load(const void* from, size_t i) {
  T value;
  std::memcpy(&value, static_cast<const std::byte*>(from) + i * sizeof(T), sizeof(T));
  return value;
}

template <typename Read>
void convert_with(Read read, void* to, DType to_dtype, size_t n) {
  if (to_dtype == DType::kF32) {
    auto* out = static_cast<float*>(to);
    for (size_t i = 0; i < n; ++i) out[i] = read(i);
  } else {
    auto* out = static_cast<bf16*>(to);
    for (size_t i = 0; i < n; ++i) out[i] = to_bf16(read(i));
  }
}

}  // namespace

void convert_elements(const void* from, DType from_dtype, void* to, DType to_dtype, size_t n) {
  TUTTI_CHECK(to_dtype == DType::kF32 || to_dtype == DType::kBF16, "weights are F32 or BF16");
  if (from_dtype == to_dtype) {
    std::memcpy(to, from, n * dtype_bytes(to_dtype));
    return;
  }
  switch (from_dtype) {
    case DType::kF32:
      convert_with([&](size_t i) { return load<float>(from, i); }, to, to_dtype, n);
      return;
    case DType::kBF16:
      convert_with([&](size_t i) { return to_float(load<bf16>(from, i)); }, to, to_dtype, n);
      return;
    case DType::kF16:
      convert_with([&](size_t i) { return half_to_float(load<uint16_t>(from, i)); }, to, to_dtype,
                   n);
      return;
    case DType::kF64:
      convert_with([&](size_t i) { return static_cast<float>(load<double>(from, i)); }, to,
                   to_dtype, n);
      return;
    default:
      TUTTI_CHECK(false, "weights are floating-point");
  }
}

}  // namespace tutti
