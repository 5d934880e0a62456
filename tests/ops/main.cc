// The op tests; with --bench, the op benchmark instead.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>

#include "backend/cpu/isa.h"
#include "bench.h"

int main(int argc, char** argv) {
  const auto isa = tutti::cpu::select_cpu_isa();
  if (!isa.ok()) {
    std::fprintf(stderr, "%s\n", isa.error().message().c_str());
    return 2;
  }
  if (argc > 1 && std::strcmp(argv[1], "--bench") == 0) {
    return tutti::op_check::run_benchmarks(argc > 2 ? argv[2] : "");
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
