#include "serve/stage_metrics_pace.h"

#include <gtest/gtest.h>

namespace tutti::serve {
namespace {

TEST(StageMetricsPace, TellsTheFirstOfEachStageAtOnce) {
  StageMetricsPace pace;
  const FakeClock clock;
  EXPECT_TRUE(pace.is_due(0, clock.now()));
  EXPECT_TRUE(pace.is_due(2, clock.now()));
  EXPECT_FALSE(pace.is_due(0, clock.now()));
  EXPECT_FALSE(pace.is_due(2, clock.now()));
  EXPECT_TRUE(pace.is_due(1, clock.now()));
}

TEST(StageMetricsPace, TellsTheRestNowAndThen) {
  StageMetricsPace pace;
  FakeClock clock;
  int told = 0;
  for (int ms = 0; ms <= 1000; ms += 10) {
    told += pace.is_due(0, clock.now()) ? 1 : 0;
    clock.advance(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(told, 5);  // at 0, 250, 500, 750 and 1000 ms
  // However long nothing came, one follows the other in its time.
  clock.advance(std::chrono::seconds(10));
  EXPECT_TRUE(pace.is_due(0, clock.now()));
  EXPECT_FALSE(pace.is_due(0, clock.now()));
}

}  // namespace
}  // namespace tutti::serve
