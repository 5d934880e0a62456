// Runs many seeds of SimWorld on two threads. `tutti_sim --seed N` replays one with a trace;
// `--seeds N` or TUTTI_SIM_SEEDS=N runs the first N.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "sim/sim_world.h"

namespace tutti::sim {
namespace {

constexpr uint64_t kDefaultSeeds = 2000;
uint64_t first_seed = 1;
uint64_t num_seeds = kDefaultSeeds;
bool trace = false;

struct Outcome {
  SimStats total;
  uint64_t seed = 0;  // of the violation
  std::string violation;
};

// All seeds, or up to the first violation.
Outcome run_seeds(Bug bug) {
  Outcome outcome;
  std::mutex mutex;
  std::atomic<uint64_t> next{0};
  std::atomic<bool> found{false};
  const auto work = [&] {
    SimStats mine;
    for (uint64_t i = next++; i < num_seeds && !found; i = next++) {
      SimWorld world(first_seed + i, trace, bug);
      const std::string violation = world.run();
      mine.add(world.stats());
      if (violation.empty()) continue;
      const std::lock_guard lock(mutex);
      if (found.exchange(true)) continue;
      outcome.seed = first_seed + i;
      outcome.violation = violation;
    }
    const std::lock_guard lock(mutex);
    outcome.total.add(mine);
  };
  std::thread second(work);
  work();
  second.join();
  return outcome;
}

TEST(Simulator, GuaranteesHoldForEverySeed) {
  const Outcome outcome = run_seeds(Bug::kNone);
  ASSERT_EQ(outcome.violation, "")
      << "seed " << outcome.seed << "; replay with: tutti_sim --seed " << outcome.seed;
  const SimStats& total = outcome.total;
  RecordProperty("requests", std::to_string(total.requests));
  EXPECT_EQ(total.requests, total.finished + total.aborted + total.failed);
  if (num_seeds < 100) return;
  // Every kind of end occurs, or the worlds have become too tame to find anything.
  EXPECT_GT(total.finished, total.requests / 2);
  for (const int64_t count : {total.aborted, total.failed, total.refused, total.retries,
                              total.deaths, total.updates, total.overdue, total.calls}) {
    EXPECT_GT(count, total.requests / 2000);
  }
  EXPECT_GT(total.early, 0);
  if (num_seeds < kDefaultSeeds) return;
  EXPECT_GE(total.requests, 1'000'000);
}

TEST(Simulator, ASeedGivesTheSameRunAgain) {
  SimWorld one(first_seed, false), two(first_seed, false);
  EXPECT_EQ(one.run(), two.run());
  EXPECT_EQ(one.stats().events, two.stats().events);
  EXPECT_EQ(one.stats().finished, two.stats().finished);
  EXPECT_EQ(one.stats().aborted, two.stats().aborted);
}

// A simulator that finds nothing may be blind: these it must see.
TEST(Simulator, FindsAnAbortThatGotLost) {
  const std::string found = run_seeds(Bug::kLostAbort).violation;
  EXPECT_NE(found.find("waits for a stage that has nothing to do"), std::string::npos) << found;
}
TEST(Simulator, FindsASecondTerminalMessage) {
  const std::string found = run_seeds(Bug::kDoubleTerminal).violation;
  EXPECT_NE(found.find("after its terminal one"), std::string::npos) << found;
}
TEST(Simulator, FindsABindingThatLeaks) {
  const std::string found = run_seeds(Bug::kLeakedBinding).violation;
  EXPECT_NE(found.find("bound are"), std::string::npos) << found;
}
TEST(Simulator, FindsChunksInTheWrongOrder) {
  const std::string found = run_seeds(Bug::kWrongOrder).violation;
  EXPECT_NE(found.find("other tokens than its own"), std::string::npos) << found;
}
TEST(Simulator, FindsARestartThatWasMissed) {
  const std::string found = run_seeds(Bug::kMissedRestart).violation;
  EXPECT_NE(found.find("is restarting at the end"), std::string::npos) << found;
}

}  // namespace
}  // namespace tutti::sim

int main(int argc, char** argv) {
  using namespace tutti::sim;
  testing::InitGoogleTest(&argc, argv);
  // Retried and given-up requests are what the worlds are about, not news.
  spdlog::set_level(spdlog::level::off);
  if (const char* seeds = std::getenv("TUTTI_SIM_SEEDS")) {
    num_seeds = std::strtoull(seeds, nullptr, 10);
  }
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const uint64_t value = std::strtoull(argv[i + 1], nullptr, 10);
    if (flag == "--seeds") num_seeds = value;
    if (flag != "--seed") continue;
    first_seed = value;
    num_seeds = 1;
    trace = true;
  }
  return RUN_ALL_TESTS();
}
