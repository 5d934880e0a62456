#include "backend/cpu/kernels/isa_common.h"

#define TUTTI_VEC_INC "backend/cpu/kernels/vec_avx2.inc"

#ifdef __x86_64__

#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace tutti::cpu {
namespace {
#include "backend/cpu/kernels/table.inc"
}  // namespace
}  // namespace tutti::cpu

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace tutti::cpu {
const CpuKernels* avx2_kernels() {
  static constexpr CpuKernels kTable = make_table("avx2");
  return &kTable;
}
}  // namespace tutti::cpu

#else

namespace tutti::cpu {
const CpuKernels* avx2_kernels() { return nullptr; }
}  // namespace tutti::cpu

#endif
