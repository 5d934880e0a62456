#include "tensor/dtype.h"

#include <bit>

namespace tutti {

namespace {
struct Name {
  DType dtype;
  std::string_view safetensors;
  std::string_view torch;
};
constexpr Name kNames[] = {
    {DType::kF32, "F32", "float32"}, {DType::kBF16, "BF16", "bfloat16"},
    {DType::kF16, "F16", "float16"}, {DType::kF64, "F64", "float64"},
    {DType::kI64, "I64", "int64"},   {DType::kI32, "I32", "int32"},
    {DType::kI16, "I16", "int16"},   {DType::kI8, "I8", "int8"},
    {DType::kU8, "U8", "uint8"},     {DType::kBool, "BOOL", "bool"},
};
}  // namespace

std::string_view dtype_name(DType dtype) {
  for (const Name& name : kNames) {
    if (name.dtype == dtype) return name.safetensors;
  }
  return "?";
}

std::optional<DType> parse_dtype(std::string_view text) {
  if (text == "fp32") return DType::kF32;
  if (text == "bf16") return DType::kBF16;
  for (const Name& name : kNames) {
    if (text == name.safetensors || text == name.torch) return name.dtype;
  }
  return std::nullopt;
}

float to_float(bf16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16); }

bf16 to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16)};
}

}  // namespace tutti
