#include "orchestrator/output_waiters.h"

#include <fmt/format.h>

#include <utility>

namespace tutti {
namespace {

constexpr double kRetryAfter_s = 1;

}  // namespace

void OutputWaiters::wait(Done done) {
  bool full = false;
  {
    const std::lock_guard lock(mutex_);
    full = waiting_.size() >= kMost;
    if (!full) {
      waiting_.push_back(std::move(done));
      // Before the queue is looked at: a message that comes now finds the count or is found.
      count_.fetch_add(1, std::memory_order_seq_cst);
    }
  }
  if (full) {
    return done(resource_exhausted(fmt::format("{} callers wait for outputs; no more may.", kMost))
                    .with_retry_after(kRetryAfter_s));
  }
  if (queue_.size() > 0 || queue_.closed()) ready();
}

void OutputWaiters::ready() {
  if (count_.load(std::memory_order_seq_cst) == 0) return;
  {
    const std::lock_guard lock(mutex_);
    look_again_ = true;
    if (std::exchange(serving_, true)) return;
  }
  pool_.post([this] { serve(); });
}

void OutputWaiters::serve() {
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      look_again_ = false;
    }
    // Without the lock: making room in the queue wakes the orchestrator, which may be in ready().
    // Only this function takes waiters away.
    std::optional<EngineMessage> message;
    if (count_.load() > 0) message = queue_.try_pop();
    const bool over = !message && queue_.drained();
    Done done;
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.empty() || (!message && !over)) {
        if (look_again_ && !waiting_.empty()) continue;
        serving_ = false;
        return;
      }
      done = std::move(waiting_.front());
      waiting_.pop_front();
      count_.fetch_sub(1);
    }
    if (message) {
      seen_(*message);
      done(std::move(*message));
    } else {
      done(unavailable("The engine has stopped; there are no further outputs."));
    }
  }
}

}  // namespace tutti
