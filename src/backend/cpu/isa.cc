#include "backend/cpu/isa.h"

#include <atomic>
#include <cstdlib>
#include <string>

#include "base/check.h"
#include "base/strings.h"

namespace tutti::cpu {

namespace {

std::atomic<const CpuKernels*> active_table{nullptr};

bool machine_has(CpuIsa isa) {
#ifdef __x86_64__
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  switch (isa) {
    case CpuIsa::kScalar:
      return true;
    case CpuIsa::kAvx2:
      return avx2;
    case CpuIsa::kAvx512:
      return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  }
  return false;
#else
  return isa == CpuIsa::kScalar;
#endif
}

Result<CpuIsa> choose() {
  const char* wanted = std::getenv("TUTTI_CPU_ISA");
  const std::vector<CpuIsa> here = available_isas();
  if (wanted == nullptr || *wanted == '\0') return here.back();
  std::vector<std::string> names;
  for (CpuIsa isa : here) {
    if (isa_name(isa) == wanted) return isa;
    names.emplace_back(isa_name(isa));
  }
  return invalid_argument("TUTTI_CPU_ISA is '" + std::string(wanted) +
                          "'; this machine can run: " + join(names) + ".");
}

}  // namespace

std::string_view isa_name(CpuIsa isa) { return kernels_of(isa).name; }

std::vector<CpuIsa> available_isas() {
  std::vector<CpuIsa> out;
  for (CpuIsa isa : {CpuIsa::kScalar, CpuIsa::kAvx2, CpuIsa::kAvx512}) {
    if (machine_has(isa)) out.push_back(isa);
  }
  return out;
}

Result<CpuIsa> select_cpu_isa() {
  static const Result<CpuIsa> chosen = choose();
  return chosen;
}

const CpuKernels& kernels_of(CpuIsa isa) {
  const CpuKernels* table = isa == CpuIsa::kAvx512 ? avx512_kernels()
                            : isa == CpuIsa::kAvx2 ? avx2_kernels()
                                                   : scalar_kernels();
  return *table;
}

const CpuKernels& kernels() {
  const CpuKernels* table = active_table.load(std::memory_order_acquire);
  if (table == nullptr) [[unlikely]] {
    const Result<CpuIsa> isa = select_cpu_isa();
    TUTTI_CHECK(isa.ok(), isa.error().message().c_str());
    table = &kernels_of(*isa);
    active_table.store(table, std::memory_order_release);
  }
  return *table;
}

void set_isa_for_testing(CpuIsa isa) {
  active_table.store(&kernels_of(isa), std::memory_order_release);
}

}  // namespace tutti::cpu
