// OutputBuffer: the orchestrator's way into the bounded output queue. While the queue is full,
// messages wait here and those of one request, stage and segment become one, so that a slow reader
// costs one message per stage and segment of a live request and delays nobody.
//
// Thread: the orchestrator's. Invariants: messages of one request and stage stay in order; the
// terminal message of a request comes after everything else of it.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <unordered_map>

#include "tutti/output.h"

#include "base/ids.h"
#include "orchestrator/messages.h"

namespace tutti {

class OutputBuffer {
 public:
  using Observer = std::function<void(RequestKey, const EngineMessage&)>;

  // `observer` sees every message as it is emitted; may be empty.
  explicit OutputBuffer(OutputQueue& queue, Observer observer = {})
      : queue_(queue), observer_(std::move(observer)) {}

  // `key` identifies the request among the waiting messages.
  void emit(RequestKey key, EngineMessage message);
  // Moves what fits into the queue.
  void flush();
  // Moves everything, beyond the queue's capacity: at the end nothing may be lost.
  void flush_all();
  size_t waiting() const { return waiting_.size(); }
  // Of how many requests.
  size_t waiting_requests() const { return requests_.size(); }

 private:
  struct Waiting {
    RequestKey key;
    EngineMessage message;
  };
  using Position = std::list<Waiting>::iterator;
  struct Slot {
    RequestKey key;
    int32_t stage;
    bool operator==(const Slot&) const = default;
  };
  struct SlotHash {
    size_t operator()(const Slot& slot) const {
      return std::hash<RequestKey>{}(slot.key) * 31 + static_cast<size_t>(slot.stage);
    }
  };
  void wait(RequestKey key, EngineMessage message);
  void forget_front();
  void pop_front();

  OutputQueue& queue_;
  const Observer observer_;
  std::list<Waiting> waiting_;                              // oldest first
  std::unordered_map<Slot, Position, SlotHash> mergeable_;  // the last OutputMessage of each
  std::unordered_map<RequestKey, int32_t> requests_;        // how many messages wait of each
};

// Appends `more`, the next output of the same request and stage, to `message`.
void merge_output(OutputMessage& message, OutputMessage more);

}  // namespace tutti
