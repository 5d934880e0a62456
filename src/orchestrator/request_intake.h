// RequestIntake: the way of a request or an update into the engine: checks, input processing in the
// caller's thread or on the pool, the bounded queue.
//
// Thread: any. Invariants: what fails leaves nothing behind; updates of a request reach the
// orchestrator in the order of the calls, after the request itself; every `done` is called once.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "base/worker_pool.h"
#include "orchestrator/input_processing.h"
#include "orchestrator/live_requests.h"
#include "orchestrator/lora_registry.h"
#include "orchestrator/messages.h"

namespace tutti {

class RequestIntake {
 public:
  using Done = std::function<void(Status)>;
  struct Hooks {
    // Hands an update to the orchestrator; false: it has ended.
    std::function<bool(UpdateMessage)> post;
    // A request that has just been enqueued is to be aborted.
    std::function<void(RequestKey)> abort;
    // A request is about to be enqueued / was not, after all.
    std::function<void(const AcceptedRequest&)> accepted;
    std::function<void(RequestKey)> not_accepted;
    // An update has been handed over: its prompt as the caller typed it.
    std::function<void(RequestKey, const std::string& prompt_text)> updated;
  };

  RequestIntake(const RequestProcessor& processor, LoraRegistry& loras, LiveRequests& live,
                RequestQueue& requests, WorkerPool& pool, int32_t max_pending_updates, Hooks hooks);

  Status add(AddRequest request);
  void add_async(AddRequest request, Done done);
  Status update(StreamingUpdate update);
  void update_async(StreamingUpdate update, Done done);
  // The request queue has room. Does not block.
  void room();
  // No further request or update gets in; those that wait for room are refused.
  void close();

 private:
  // A request under way.
  struct Adding {
    AddRequest request;
    std::shared_ptr<LiveRequest> live;
    std::string id;
    TimePoint queue_deadline;
    std::unique_ptr<AcceptedRequest> accepted;
    bool announced = false;  // hooks have been told
    uint64_t timer = 0;      // at queue_deadline, while it waits for room
    Done done;
  };
  struct Updating {
    StreamingUpdate update;
    std::shared_ptr<LiveRequest> live;
    uint64_t turn = 0;
    bool last = false;
  };

  Result<std::shared_ptr<Adding>> begin(AddRequest request);
  Status prepare(Adding& adding);
  Status outcome(QueueResult result) const;
  // Ends the request's turn; when it was refused, forgets it.
  Status settle(Adding& adding, Status status);
  void enqueue_or_wait(const std::shared_ptr<Adding>& adding);
  void serve_waiting();

  Result<std::shared_ptr<Updating>> begin(StreamingUpdate update);
  Status send(Updating& updating);

  const RequestProcessor& processor_;
  LoraRegistry& loras_;
  LiveRequests& live_;
  RequestQueue& requests_;
  WorkerPool& pool_;
  const int32_t max_pending_updates_;
  const Hooks hooks_;
  std::atomic<uint64_t> next_key_{1};
  std::atomic<bool> closed_{false};
  std::mutex mutex_;
  std::list<std::shared_ptr<Adding>> waiting_;  // asynchronous ones without room; guarded by mutex_
};

}  // namespace tutti
