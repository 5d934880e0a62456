// OutputWaiters: callers that are told of the next message instead of waiting for it.
//
// Thread: any; on_message functions run on the pool, one at a time. Invariants: waiters are served
// in their order, with the messages in theirs; each is called exactly once, with an error when the
// queue is closed and empty.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <mutex>

#include "base/worker_pool.h"
#include "orchestrator/messages.h"

namespace tutti {

class OutputWaiters {
 public:
  using Done = std::function<void(Result<EngineMessage>)>;
  // Called with each message before its waiter is.
  using Seen = std::function<void(const EngineMessage&)>;

  OutputWaiters(OutputQueue& queue, WorkerPool& pool, Seen seen)
      : queue_(queue), pool_(pool), seen_(std::move(seen)) {}

  // Not more than kMost wait at once; one more is told so.
  static constexpr size_t kMost = 4096;
  void wait(Done done);
  // The queue is not empty, or closed. Cheap when nobody waits.
  void ready();

 private:
  void serve();

  OutputQueue& queue_;
  WorkerPool& pool_;
  const Seen seen_;
  std::atomic<size_t> count_{0};
  std::mutex mutex_;
  std::deque<Done> waiting_;  // guarded by mutex_, as all below
  bool serving_ = false;
  bool look_again_ = false;
};

}  // namespace tutti
