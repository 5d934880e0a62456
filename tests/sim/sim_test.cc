// Runs many seeds of SimWorld. `tutti_sim --seed N` replays one with a trace; `--seeds N` runs the
// first N.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "sim/sim_world.h"

namespace tutti::sim {
namespace {

uint64_t first_seed = 1;
uint64_t num_seeds = 1000;
bool trace = false;

TEST(Simulator, GuaranteesHoldForEverySeed) {
  SimStats total;
  for (uint64_t seed = first_seed; seed < first_seed + num_seeds; ++seed) {
    SimWorld world(seed, trace);
    const std::string violation = world.run();
    ASSERT_EQ(violation, "") << "seed " << seed << "; replay with: tutti_sim --seed " << seed;
    total.requests += world.stats().requests;
    total.finished += world.stats().finished;
    total.aborted += world.stats().aborted;
    total.failed += world.stats().failed;
    total.refused += world.stats().refused;
  }
  EXPECT_EQ(total.requests, total.finished + total.aborted + total.failed);
  if (num_seeds < 100) return;
  // Every kind of end occurs, or the worlds have become too tame to find anything.
  EXPECT_GT(total.finished, total.requests / 4);
  EXPECT_GT(total.aborted, 0);
  EXPECT_GT(total.failed, 0);
  EXPECT_GT(total.refused, 0);
}

TEST(Simulator, ASeedGivesTheSameRunAgain) {
  SimWorld one(first_seed, false), two(first_seed, false);
  EXPECT_EQ(one.run(), two.run());
  EXPECT_EQ(one.stats().events, two.stats().events);
  EXPECT_EQ(one.stats().finished, two.stats().finished);
  EXPECT_EQ(one.stats().aborted, two.stats().aborted);
}

}  // namespace
}  // namespace tutti::sim

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const uint64_t value = std::strtoull(argv[i + 1], nullptr, 10);
    if (flag == "--seeds") tutti::sim::num_seeds = value;
    if (flag != "--seed") continue;
    tutti::sim::first_seed = value;
    tutti::sim::num_seeds = 1;
    tutti::sim::trace = true;
  }
  return RUN_ALL_TESTS();
}
