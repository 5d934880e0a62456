// AnswerBuffer: the orchestrator's way into the bounded queue of control answers. While that is
// full, answers wait here, one per call that somebody waits for.
//
// Thread: the orchestrator's.
#pragma once

#include <deque>
#include <utility>

#include "orchestrator/messages.h"

namespace tutti {

class AnswerBuffer {
 public:
  explicit AnswerBuffer(RpcOutputQueue& queue) : queue_(queue) {}

  void emit(RpcOutput answer) {
    waiting_.push_back(std::move(answer));
    flush();
  }
  // Moves what fits into the queue.
  void flush() {
    while (!waiting_.empty()) {
      const QueueResult result = queue_.try_push(std::move(waiting_.front()));
      if (result == QueueResult::kFull) return;
      waiting_.pop_front();
    }
  }
  // Moves everything, beyond the queue's capacity.
  void flush_all() {
    for (; !waiting_.empty(); waiting_.pop_front()) queue_.force_push(std::move(waiting_.front()));
  }
  size_t waiting() const { return waiting_.size(); }

 private:
  RpcOutputQueue& queue_;
  std::deque<RpcOutput> waiting_;
};

}  // namespace tutti
