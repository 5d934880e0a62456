// Notifier: an event count. Waiters learn that something happened since they last looked, without a
// lock on the notifying side while nobody sleeps.
//
// Thread: notify() from any thread; wait() from any number of threads.
// Use: key = prepare(); look for work; when there is none, wait(key, ...). A notify() after
// prepare() is never missed.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "base/clock.h"

namespace tutti {

class Notifier {
 public:
  void notify();
  uint64_t prepare() const { return epoch_.load(std::memory_order_acquire); }
  // Spins for up to `spin` (waking a sleeping thread costs tens of microseconds), then sleeps.
  // False when the deadline passed without a notify() after the matching prepare().
  bool wait(uint64_t key, Deadline deadline, Duration spin = {});

 private:
  bool spin_until_changed(uint64_t key, TimePoint end) const;

  std::atomic<uint64_t> epoch_{0};
  std::atomic<uint32_t> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace tutti
