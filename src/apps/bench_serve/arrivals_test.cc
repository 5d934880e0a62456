#include "apps/bench_serve/arrivals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace tutti::bench {
namespace {

TEST(Arrivals, RepeatWithTheirSeed) {
  EXPECT_EQ(poisson_arrivals(100, 5, 1), poisson_arrivals(100, 5, 1));
  EXPECT_NE(poisson_arrivals(100, 5, 1), poisson_arrivals(100, 5, 2));
}

TEST(Arrivals, GapsAreExponential) {
  constexpr int64_t kCount = 20'001;
  constexpr double kRate = 40;
  const std::vector<double> at = poisson_arrivals(kCount, kRate, 7);
  EXPECT_EQ(at.front(), 0);
  EXPECT_TRUE(std::is_sorted(at.begin(), at.end()));
  double sum = 0, squares = 0;
  for (size_t i = 1; i < at.size(); ++i) {
    const double gap = at[i] - at[i - 1];
    sum += gap;
    squares += gap * gap;
  }
  const double mean = sum / (kCount - 1);
  const double deviation = std::sqrt(squares / (kCount - 1) - mean * mean);
  // Mean and standard deviation are both 1 / rate; 20,000 draws are good to about 1 %.
  EXPECT_NEAR(mean * kRate, 1, 0.05);
  EXPECT_NEAR(deviation * kRate, 1, 0.05);
}

TEST(Arrivals, AllAtOnceWithoutARate) {
  EXPECT_EQ(poisson_arrivals(3, std::numeric_limits<double>::infinity(), 0),
            (std::vector<double>{0, 0, 0}));
  EXPECT_TRUE(poisson_arrivals(0, 1, 0).empty());
}

}  // namespace
}  // namespace tutti::bench
