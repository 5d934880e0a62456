#include "apps/bench_serve/arrivals.h"

#include <cmath>

#include "base/random.h"

namespace tutti::bench {

std::vector<double> poisson_arrivals(int64_t count, double rate, uint64_t seed) {
  std::vector<double> arrivals(static_cast<size_t>(count), 0.0);
  if (std::isinf(rate)) return arrivals;
  constexpr uint64_t kStream = 0;
  for (size_t i = 1; i < arrivals.size(); ++i) {
    // Gaps between arrivals are exponential; 1 - u is never 0.
    const double u = counter_uniform(seed, kStream, i);
    arrivals[i] = arrivals[i - 1] - std::log(1 - u) / rate;
  }
  return arrivals;
}

}  // namespace tutti::bench
