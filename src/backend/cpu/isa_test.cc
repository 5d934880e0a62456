#include "backend/cpu/isa.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace tutti::cpu {
namespace {

// The choice is made once per process, so each setting runs in a child.
int child_result(const char* value, int on_error) {
  setenv("TUTTI_CPU_ISA", value, 1);
  const auto isa = select_cpu_isa();
  if (!isa.ok()) {
    std::fprintf(stderr, "%s\n", isa.error().message().c_str());
    return on_error;
  }
  std::fprintf(stderr, "chosen %s, running %s\n", std::string(isa_name(*isa)).c_str(),
               kernels().name);
  return 0;
}

TEST(CpuIsaDeathTest, TheVariableForcesAnInstructionSet) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  for (CpuIsa isa : available_isas()) {
    const std::string name(isa_name(isa));
    EXPECT_EXIT(std::exit(child_result(name.c_str(), 1)), testing::ExitedWithCode(0),
                "chosen " + name + ", running " + name);
  }
}

TEST(CpuIsaDeathTest, AnUnknownNameIsOneSentence) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(std::exit(child_result("neon512", 3)), testing::ExitedWithCode(3),
              "TUTTI_CPU_ISA is 'neon512'; this machine can run: scalar");
}

TEST(CpuIsa, ScalarIsAlwaysThere) {
  ASSERT_FALSE(available_isas().empty());
  EXPECT_EQ(available_isas().front(), CpuIsa::kScalar);
}

}  // namespace
}  // namespace tutti::cpu
