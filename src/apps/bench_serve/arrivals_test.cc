#include "apps/bench_serve/arrivals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace tutti::bench {
namespace {

TEST(Arrivals, RepeatWithTheirSeed) {
  for (const double burstiness : {0.3, 1.0, 4.0}) {
    EXPECT_EQ(arrivals(100, 5, burstiness, 1), arrivals(100, 5, burstiness, 1));
    EXPECT_NE(arrivals(100, 5, burstiness, 1), arrivals(100, 5, burstiness, 2));
  }
  EXPECT_NE(arrivals(100, 5, 1, 1), arrivals(100, 5, 2, 1));
}

// A gamma distribution of the shape k and the mean 1 has the variance 1 / k. Bounds are five
// standard errors of so many draws.
TEST(Arrivals, GapsHaveTheGammaDistribution) {
  constexpr int64_t kGaps = 40'000;
  constexpr double kRate = 40;
  for (const double k : {0.25, 0.5, 1.0, 2.0, 9.0}) {
    const std::vector<double> at = arrivals(kGaps + 1, kRate, k, 7);
    EXPECT_EQ(at.front(), 0);
    EXPECT_TRUE(std::is_sorted(at.begin(), at.end()));
    std::vector<double> gaps;  // of the mean 1
    for (size_t i = 1; i < at.size(); ++i) gaps.push_back((at[i] - at[i - 1]) * kRate);
    const auto moment = [&](int power, double around) {
      double sum = 0;
      for (const double gap : gaps) sum += std::pow(gap - around, power);
      return sum / kGaps;
    };
    const double mean = moment(1, 0);
    EXPECT_NEAR(mean, 1, 5 * std::sqrt(1 / k / kGaps)) << k;
    // Var(s^2) = (kurtosis - 1) variance^2 / n, with the kurtosis 3 + 6 / k.
    EXPECT_NEAR(moment(2, mean) * k, 1, 5 * std::sqrt((2 + 6 / k) / kGaps)) << k;
    // Moments do not tell the exponential distribution of a Poisson process from others.
    const auto shorter = std::count_if(gaps.begin(), gaps.end(), [](double g) { return g < 0.1; });
    const double p = 1 - std::exp(-0.1);
    if (k == 1)
      EXPECT_NEAR(static_cast<double>(shorter) / kGaps, p, 5 * std::sqrt(p * (1 - p) / kGaps));
  }
}

TEST(Arrivals, AllAtOnceWithoutARate) {
  EXPECT_EQ(arrivals(3, std::numeric_limits<double>::infinity(), 1, 0),
            (std::vector<double>{0, 0, 0}));
  EXPECT_TRUE(arrivals(0, 1, 1, 0).empty());
}

}  // namespace
}  // namespace tutti::bench
