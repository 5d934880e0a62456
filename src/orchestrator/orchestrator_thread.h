// OrchestratorThread: the event loop around the Orchestrator: take everything from the mailbox,
// handle it, sleep until there is more or a timer is due.
//
// Thread: start(), join() by the owner; the rest by any. Invariants: whatever ends the loop, every
// request has got its terminal message before running() becomes false. Owns the loop's thread.
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "orchestrator/orchestrator.h"

namespace tutti {

using OrchestratorMailbox = DualQueue<OrchestratorMessage>;

class OrchestratorThread {
 public:
  // After a batch of messages the loop spins so long for the next before it sleeps: waking a
  // sleeping thread takes about 45 us.
  static constexpr Duration kSpin = std::chrono::microseconds(100);

  // The mailbox is shared with whoever may still post when the loop has ended.
  OrchestratorThread(std::shared_ptr<const StageGraph> graph, const StagePools& pools,
                     const OrchestratorQueues& queues, std::shared_ptr<OrchestratorMailbox> mailbox,
                     OrchestratorOptions options);
  // Shuts down.
  ~OrchestratorThread();

  void start();
  void post(OrchestratorMessage message);
  bool running() const { return running_.load(std::memory_order_acquire); }
  std::thread::native_handle_type native_handle() { return thread_.native_handle(); }
  // Ends every request and the loop; the request queue must be closed. Idempotent.
  void shut_down();

 private:
  void loop();
  void die(const Status& cause);

  OrchestratorQueues queues_;
  std::shared_ptr<OrchestratorMailbox> mailbox_;
  Orchestrator orchestrator_;
  std::atomic<bool> running_{false};
  std::thread thread_;
};

}  // namespace tutti
