// ControlCalls: who waits for which answer of rpc_output_queue, by ticket.
//
// Thread: any. Invariants: `done` of every call is called exactly once: with the answer, when the
// deadline has passed, or when the engine ends. Late answers are dropped.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <unordered_map>

#include "base/worker_pool.h"
#include "orchestrator/messages.h"

namespace tutti {

class ControlCalls {
 public:
  using Done = std::function<void(Result<RpcOutput>)>;
  // Tells the orchestrator of the call; false: it has ended.
  using Send = std::function<bool(uint64_t ticket)>;

  explicit ControlCalls(WorkerPool& pool) : pool_(pool) {}

  // Blocks until the answer. TimePoint::max(): the answer comes for certain.
  Result<RpcOutput> call(TimePoint deadline, const Send& send);
  // `done` runs on the pool.
  void call_async(TimePoint deadline, const Send& send, Done done);

  // Takes everything that is in the queue.
  void take(RpcOutputQueue& queue);
  // Ends all calls, and those to come at once, with `cause`.
  void close(const Status& cause);
  size_t size() const;

 private:
  struct Call {
    Done done;
    uint64_t timer = 0;
  };
  // Called where the answer is found: must be quick.
  void begin(TimePoint deadline, const Send& send, Done done);
  void finish(uint64_t ticket, Result<RpcOutput> result);

  WorkerPool& pool_;
  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, Call> calls_;  // guarded by mutex_, as all below
  uint64_t last_ticket_ = 0;
  Status closed_;
};

}  // namespace tutti
