// Timers: what the orchestrator has to do at a time instead of upon a message.
//
// Thread: the orchestrator's. Setting and clearing are O(log n); nothing stale stays behind.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <tuple>

#include "base/clock.h"

namespace tutti {

enum class TimerKind : uint8_t { kRequest, kReplica, kRpc };

struct Timer {
  TimePoint when;
  TimerKind kind;
  uint64_t id;  // request key; stage and replica; ticket
  auto operator<=>(const Timer&) const = default;
};

class Timers {
 public:
  void set(const Timer& timer) { timers_.insert(timer); }
  void clear(const Timer& timer) { timers_.erase(timer); }
  // The earliest; none: nothing is waited for.
  std::optional<TimePoint> next() const {
    if (timers_.empty()) return std::nullopt;
    return timers_.begin()->when;
  }
  // Takes one that has come.
  std::optional<Timer> pop_due(TimePoint now) {
    if (timers_.empty() || timers_.begin()->when > now) return std::nullopt;
    const Timer due = *timers_.begin();
    timers_.erase(timers_.begin());
    return due;
  }
  size_t size() const { return timers_.size(); }

 private:
  std::set<Timer> timers_;
};

}  // namespace tutti
