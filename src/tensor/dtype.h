// Element types of tensors, with the names that safetensors and Hugging Face configs use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tutti {

enum class DType : uint8_t { kF32, kBF16, kF16, kF64, kI64, kI32, kI16, kI8, kU8, kBool };

constexpr size_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::kF64:
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBF16:
    case DType::kF16:
    case DType::kI16:
      return 2;
    case DType::kI8:
    case DType::kU8:
    case DType::kBool:
      return 1;
  }
  return 0;
}

// "F32", "BF16", ...: safetensors' spelling.
std::string_view dtype_name(DType dtype);
// From safetensors' spelling ("BF16") or PyTorch's ("bfloat16"); none when unknown.
std::optional<DType> parse_dtype(std::string_view name);

// Storage form of bfloat16: the upper half of a float.
struct bf16 {
  uint16_t bits;
};
float to_float(bf16 value);
// Rounds to nearest even; NaN stays NaN.
bf16 to_bf16(float value);

}  // namespace tutti
