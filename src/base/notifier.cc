#include "base/notifier.h"

#include <algorithm>
#include <thread>

namespace tutti {

void Notifier::notify() {
  // Sequential consistency with the two operations in wait(): either the waiter sees the new epoch
  // or this thread sees the waiter.
  epoch_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) == 0) return;
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

bool Notifier::spin_until_changed(uint64_t key, TimePoint end) const {
  // Another thread has used this core for so long: spinning would only keep it from working.
  constexpr Duration kCoreIsWanted = std::chrono::microseconds(60);
  TimePoint now = std::chrono::steady_clock::now();
  for (TimePoint before = now; now < end && now - before < kCoreIsWanted;) {
    for (int i = 0; i < 32; ++i) {
      if (epoch_.load(std::memory_order_acquire) != key) return true;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
    before = now;
    // On a machine with fewer cores than spinners the one with work must get its turn.
    std::this_thread::yield();
    now = std::chrono::steady_clock::now();
  }
  return epoch_.load(std::memory_order_acquire) != key;
}

bool Notifier::wait(uint64_t key, Deadline deadline, Duration spin) {
  if (prepare() != key) return true;
  // Whether what this thread waited for last came while spinning would have lasted: news a
  // millisecond apart are not worth a core that others compute on.
  static thread_local bool spinning_pays = true;
  const bool may_spin = spin > Duration::zero();
  const TimePoint begin = may_spin ? std::chrono::steady_clock::now() : TimePoint();
  if (may_spin && spinning_pays &&
      spin_until_changed(key, std::min(begin + spin, deadline.time()))) {
    return true;
  }
  std::unique_lock lock(mutex_);
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  const auto changed = [&] { return epoch_.load(std::memory_order_seq_cst) != key; };
  bool happened = true;
  if (deadline.is_never()) {
    changed_.wait(lock, changed);
  } else {
    happened = changed_.wait_until(lock, deadline.time(), changed);
  }
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
  if (may_spin) spinning_pays = happened && std::chrono::steady_clock::now() - begin < spin;
  return happened;
}

}  // namespace tutti
