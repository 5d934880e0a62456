// LiveRequests: the ids whose terminal message has not been handed to the caller yet, and what the
// caller's side knows of each.
//
// Thread: any.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "tutti/output.h"
#include "tutti/sampling_params.h"
#include "tutti/status.h"

#include "base/ids.h"
#include "orchestrator/messages.h"

namespace tutti {

// Lets callers go one after the other, in the order in which they took their turns.
class TurnQueue {
 public:
  uint64_t take() {
    const std::lock_guard lock(mutex_);
    return taken_++;
  }
  // Calls `action` when every turn before has finished: now, or in the thread that finishes it.
  void when(uint64_t turn, std::function<void()> action);
  void finish(uint64_t turn);

 private:
  std::mutex mutex_;
  std::map<uint64_t, std::function<void()>> waiting_;  // guarded by mutex_, as all below
  uint64_t taken_ = 0;
  uint64_t next_ = 0;
};

struct LiveRequest {
  RequestKey key;
  bool session = false;  // begun as resumable
  bool unread = false;   // ended, and the caller has not seen it; guarded by LiveRequests
  TurnQueue turns;       // the request itself, then its updates
  std::shared_ptr<RequestHandle> handle = std::make_shared<RequestHandle>();

  std::mutex mutex;
  bool last_given = false;    // the last segment; guarded by mutex, as all below
  bool ended = false;         // its terminal message is on the way, or it was refused
  bool enqueued = false;      // the orchestrator knows of it
  bool abort_wanted = false;  // before it did
  // Callers of abort_async() before it did; told whether it does now, or was refused.
  std::vector<std::function<void(bool enqueued)>> aborts;
  int32_t segments_given = 0;  // the request itself and its updates
  int32_t segments_sent = 0;   // to the orchestrator
  // Of those that may still be answered: the number of the segment and the most tokens it may get.
  std::deque<std::pair<int32_t, int64_t>> open_tokens;
  int32_t unread_answers = 0;  // to segments, by stage: emitted, and not seen by the caller
  bool answers_last = true;    // the segment sent last is to be answered
  std::string open_role;       // of the message that it left open; empty: none
  // As the request began.
  std::vector<SamplingParams> sampling_params;
  std::vector<int32_t> final_output_stage_ids;

  // With the lock held. `segment` goes to the orchestrator.
  void sent(const RequestSegment& segment);
  // Tokens that have been produced, or may still be for the segments that were sent.
  int64_t tokens_used();
};

class LiveRequests {
 public:
  // How many there may be.
  struct Limits {
    size_t unread = SIZE_MAX;    // requests that have ended and whose end nobody has read
    size_t sessions = SIZE_MAX;  // resumable ones
  };
  LiveRequests() = default;
  explicit LiveRequests(const Limits& limits) : limits_(limits) {}

  // Errors: the id is live, a limit is reached.
  Result<std::shared_ptr<LiveRequest>> insert(const std::string& request_id, RequestKey key,
                                              bool resumable = false);
  void erase(const std::string& request_id);
  std::shared_ptr<LiveRequest> find(const std::string& request_id) const;
  // Of those that are live. Ones that the orchestrator does not know yet are marked, so that they
  // are aborted when it does; `later`, if given, is told of each of them then.
  std::vector<RequestKey> to_abort(
      const std::vector<std::string>& request_ids,
      const std::function<std::function<void(bool enqueued)>(RequestKey)>& later = {});
  // `message` has been emitted: after a terminal one the request takes no updates.
  void emitted(const EngineMessage& message);
  // The caller has seen `message`: after a terminal one the id is free again.
  void seen(const EngineMessage& message);
  size_t size() const;

 private:
  const Limits limits_;
  mutable std::mutex mutex_;
  size_t unread_ = 0;  // guarded by mutex_, as all below
  size_t sessions_ = 0;
  std::unordered_map<std::string, std::shared_ptr<LiveRequest>> requests_;
};

// The id of the request that `message` ends; null when it ends none.
const std::string* ended_request(const EngineMessage& message);

}  // namespace tutti
