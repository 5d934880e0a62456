#include "backend/cpu/kernels/isa_common.h"

#define TUTTI_VEC_INC "backend/cpu/kernels/vec_scalar.inc"

namespace tutti::cpu {
namespace {
#include "backend/cpu/kernels/table.inc"
}  // namespace

const CpuKernels* scalar_kernels() {
  static constexpr CpuKernels kTable = make_table("scalar");
  return &kTable;
}

}  // namespace tutti::cpu
