// StageMetricsPace: when a client that follows an answer's timeline is told of it again: with the
// first news of each stage, and then not more often than people see.
//
// Thread: one at a time.
#pragma once

#include <set>

#include "base/clock.h"

namespace tutti::serve {

class StageMetricsPace {
 public:
  static constexpr Duration kInterval = std::chrono::milliseconds(250);

  // There is news of the stage. True when it should be told now; what is not is told with later
  // news, or at the end.
  bool is_due(int32_t stage, TimePoint now) {
    const bool first = told_.insert(stage).second;
    if (!first && now < next_) return false;
    next_ = now + kInterval;
    return true;
  }

 private:
  std::set<int32_t> told_;
  TimePoint next_ = {};
};

}  // namespace tutti::serve
