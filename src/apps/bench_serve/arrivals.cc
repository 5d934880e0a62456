#include "apps/bench_serve/arrivals.h"

#include <cmath>
#include <numbers>

#include "base/random.h"

namespace tutti::bench {
namespace {

// The draws behind one gap.
class Draws {
 public:
  Draws(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}
  double above_zero() { return 1 - double{counter_uniform(seed_, stream_, next_++)}; }  // (0, 1]
  double normal() {  // Box and Muller 1958
    const double radius = std::sqrt(-2 * std::log(above_zero()));
    return radius * std::cos(2 * std::numbers::pi * above_zero());
  }

 private:
  const uint64_t seed_;
  const uint64_t stream_;
  uint64_t next_ = 0;
};

// Gamma of this shape and scale 1: Marsaglia and Tsang, "A simple method for generating gamma
// variables", 2000; below a shape of 1 by their note in section 6.
double gamma(double shape, Draws& draws) {
  if (shape == 1) return -std::log(draws.above_zero());
  if (shape < 1) {
    const double u = draws.above_zero();
    return gamma(shape + 1, draws) * std::pow(u, 1 / shape);
  }
  const double d = shape - 1.0 / 3;
  const double c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = draws.normal();
    const double v = std::pow(1 + c * x, 3);
    if (v > 0 && std::log(draws.above_zero()) < x * x / 2 + d - d * v + d * std::log(v)) {
      return d * v;
    }
  }
}

}  // namespace

std::vector<double> arrivals(int64_t count, double rate, double burstiness, uint64_t seed) {
  std::vector<double> out(static_cast<size_t>(count), 0.0);
  if (std::isinf(rate)) return out;
  for (size_t i = 1; i < out.size(); ++i) {
    Draws draws(seed, i);
    out[i] = out[i - 1] + gamma(burstiness, draws) / (rate * burstiness);
  }
  return out;
}

}  // namespace tutti::bench
