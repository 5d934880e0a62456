#include "stages/worker_pulse.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace tutti {
namespace {

using testing::HasSubstr;

TEST(WorkerPulse, BothSidesSeeTheSameCounters) {
  const WorkerPulse mine = WorkerPulse::create().value();
  const WorkerPulse other = WorkerPulse::open(UniqueFd(dup(mine.memory_fd()))).value();
  other.beat();
  other.begin_turn();
  other.progress();
  EXPECT_EQ(mine.beats(), 1u);
  EXPECT_EQ(mine.turns(), 3u) << "odd: within a turn";
  other.end_turn();
  EXPECT_EQ(mine.turns(), 4u);
}

TEST(WorkerPulse, MemoryOfAnotherSizeIsRefused) {
  EXPECT_FALSE(WorkerPulse::open(UniqueFd(open("/dev/null", O_RDWR))));
}

class WorkerWatchTest : public testing::Test {
 protected:
  // Looks once in every interval, for `seconds`.
  Status look_for(double seconds, bool beats, bool in_turn) {
    Status status;
    const double interval_s = to_seconds(WorkerPulse::kInterval);
    for (double passed = 0; passed < seconds && status.ok(); passed += interval_s) {
      now_ += WorkerPulse::kInterval;
      beats_ += beats ? 1 : 0;
      status = watch_.look(now_, beats_, in_turn ? 7 : 8);
    }
    return status;
  }
  WorkerWatch watch_{20, 100};
  TimePoint now_ = TimePoint() + std::chrono::hours(1);
  uint64_t beats_ = 1;
};

TEST_F(WorkerWatchTest, ABeatingWorkerMayIdleForever) {
  EXPECT_TRUE(look_for(1000, true, false).ok());
}

TEST_F(WorkerWatchTest, SilenceEndsIt) {
  EXPECT_TRUE(look_for(50, true, true).ok());
  EXPECT_TRUE(look_for(19, false, true).ok());
  EXPECT_THAT(look_for(2, false, true).message(), HasSubstr("no sign of life for 20 s"));
}

TEST_F(WorkerWatchTest, AStepWithoutEndEndsIt) {
  EXPECT_TRUE(look_for(99, true, true).ok());
  EXPECT_THAT(look_for(3, true, true).message(), HasSubstr("the same step for 100 s"));
}

TEST_F(WorkerWatchTest, TimeInWhichNobodyLookedDoesNotCount) {
  EXPECT_TRUE(look_for(5, true, false).ok());
  now_ += std::chrono::hours(5);  // this process was stopped, the worker with it
  EXPECT_TRUE(look_for(10, false, false).ok());
  EXPECT_TRUE(look_for(5, true, false).ok());
}

}  // namespace
}  // namespace tutti
