// Which instruction set the CPU kernels use: the best that the machine has, or the one that
// TUTTI_CPU_ISA names (scalar, avx2, avx512).
//
// Thread: any. The choice is made once, at first use.
#pragma once

#include <string_view>
#include <vector>

#include "tutti/status.h"

#include "backend/cpu/kernels/kernels.h"

namespace tutti::cpu {

enum class CpuIsa : uint8_t { kScalar, kAvx2, kAvx512 };

std::string_view isa_name(CpuIsa isa);
// Those this machine can run, worst first.
std::vector<CpuIsa> available_isas();
// The instruction set in use. INVALID_ARGUMENT when TUTTI_CPU_ISA is unknown or not supported here;
// programs call this before their first op, which would abort with the same sentence.
Result<CpuIsa> select_cpu_isa();

// The table in use.
const CpuKernels& kernels();
const CpuKernels& kernels_of(CpuIsa isa);
// Tests compare instruction sets in one process. Not while ops run.
void set_isa_for_testing(CpuIsa isa);

}  // namespace tutti::cpu
