// Clock: where time comes from. Injected, so that the simulator and tests own it; everything that
// really waits uses the steady clock. Deadline: the moment a wait gives up.
//
// Thread: all of it from any thread.
#pragma once

#include <atomic>
#include <chrono>

namespace tutti {

using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

inline double to_seconds(Duration d) { return std::chrono::duration<double>(d).count(); }
// Saturates: seconds beyond a century count as a century.
Duration from_seconds(double seconds);

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
  // The process's steady clock.
  static const Clock& steady();
};

// Stands still until it is told to move.
class FakeClock final : public Clock {
 public:
  TimePoint now() const override { return TimePoint(Duration(ticks_.load())); }
  void advance(Duration by) { ticks_.fetch_add(by.count()); }

 private:
  std::atomic<Duration::rep> ticks_{Duration(std::chrono::hours(1)).count()};
};

class Deadline {
 public:
  // For waits that end with an event that must come.
  static Deadline never() { return Deadline(TimePoint::max()); }
  static Deadline at(TimePoint when) { return Deadline(when); }
  // So many seconds from now on the steady clock; 0 or less has passed already.
  static Deadline after(double seconds);

  bool is_never() const { return at_ == TimePoint::max(); }
  bool passed(TimePoint now) const { return !is_never() && now >= at_; }
  TimePoint time() const { return at_; }
  Deadline earlier(Deadline other) const { return at_ < other.at_ ? *this : other; }

 private:
  explicit Deadline(TimePoint at) : at_(at) {}
  TimePoint at_;
};

}  // namespace tutti
