#include "backend/cpu/kernels/isa_common.h"

namespace tutti::cpu {
namespace {
#include "backend/cpu/kernels/vec_scalar.inc"
#include "backend/cpu/kernels/math.inc"
#include "backend/cpu/kernels/linear.inc"
#include "backend/cpu/kernels/rows.inc"
#include "backend/cpu/kernels/attention.inc"
#include "backend/cpu/kernels/table.inc"
}  // namespace

const CpuKernels* scalar_kernels() {
  static constexpr CpuKernels kTable = make_table("scalar");
  return &kTable;
}

}  // namespace tutti::cpu
