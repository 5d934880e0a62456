// LiveRequests: the ids whose terminal message has not been handed to the caller yet, and what the
// caller's side knows of each.
//
// Thread: any.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "tutti/output.h"
#include "tutti/sampling_params.h"

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
  TurnQueue turns;  // the request itself, then its updates
  std::shared_ptr<RequestHandle> handle = std::make_shared<RequestHandle>();

  std::mutex mutex;
  bool resumable = false;      // guarded by mutex, as all below
  bool last_given = false;     // the last segment
  bool ended = false;          // its terminal message is on the way, or it was refused
  bool enqueued = false;       // the orchestrator knows of it
  bool abort_wanted = false;   // before it did
  int32_t segments_given = 0;  // the request itself and its updates
  bool answers_last = true;    // the segment sent last is to be answered
  std::string open_role;       // of the message that it left open; empty: none
  // As the request began.
  std::vector<SamplingParams> sampling_params;
  std::vector<int32_t> final_output_stage_ids;
};

class LiveRequests {
 public:
  // None when the id is live.
  std::shared_ptr<LiveRequest> insert(const std::string& request_id, RequestKey key);
  void erase(const std::string& request_id);
  std::shared_ptr<LiveRequest> find(const std::string& request_id) const;
  // Of those that are live. Ones that the orchestrator does not know yet are marked, so that they
  // are aborted when it does.
  std::vector<RequestKey> to_abort(const std::vector<std::string>& request_ids);
  // `message` has been emitted: after a terminal one the request takes no updates.
  void emitted(const EngineMessage& message);
  // The caller has seen `message`: after a terminal one the id is free again.
  void seen(const EngineMessage& message);
  size_t size() const;

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<LiveRequest>> requests_;
};

// The id of the request that `message` ends; null when it ends none.
const std::string* ended_request(const EngineMessage& message);

}  // namespace tutti
