// What the three per-instruction-set translation units share: headers, before any target pragma,
// and the macros of the .inc files.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "backend/cpu/kernels/kernels.h"

#define TUTTI_INLINE [[gnu::always_inline]] inline
#define TUTTI_UNROLL _Pragma("GCC unroll 32")

namespace tutti::cpu {
// Round to nearest even; a NaN stays one.
inline uint16_t round_to_bf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
}  // namespace tutti::cpu
