#include "base/clock.h"

#include <algorithm>

namespace tutti {

Duration from_seconds(double seconds) {
  constexpr double kCentury = 100.0 * 365 * 86400;
  // Written so that NaN becomes 0.
  const double bounded = seconds > 0 ? std::min(seconds, kCentury) : 0.0;
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(bounded));
}

const Clock& Clock::steady() {
  class Steady final : public Clock {
   public:
    TimePoint now() const override { return std::chrono::steady_clock::now(); }
  };
  static const Steady clock;
  return clock;
}

Deadline Deadline::after(double seconds) {
  return Deadline(std::chrono::steady_clock::now() + from_seconds(seconds));
}

}  // namespace tutti
