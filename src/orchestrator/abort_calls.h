// AbortCalls: aborts that somebody waits for, until the last of their requests has ended.
//
// Thread: the orchestrator's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "orchestrator/answer_buffer.h"

namespace tutti {

class AbortCalls {
 public:
  explicit AbortCalls(AnswerBuffer& answers) : answers_(answers) {}

  // A call about `count` live requests, each to be ended by one end(). Answers at once when 0.
  void open(uint64_t ticket, size_t count);
  // One of them has ended: `result`, or null when it has not ended as aborted.
  void end(uint64_t ticket, size_t index, const AbortResult* result);
  // Answers with what there is.
  void end_all();
  size_t size() const { return calls_.size(); }

 private:
  struct Call {
    std::vector<std::optional<AbortResult>> results;
    size_t left = 0;
  };
  void answer(uint64_t ticket, Call call);

  AnswerBuffer& answers_;
  std::unordered_map<uint64_t, Call> calls_;  // by ticket
};

}  // namespace tutti
