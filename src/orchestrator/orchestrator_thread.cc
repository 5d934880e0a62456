#include "orchestrator/orchestrator_thread.h"

#include "base/log.h"
#include "base/thread.h"
#include "stages/replica_core.h"

namespace tutti {

OrchestratorThread::OrchestratorThread(std::shared_ptr<const StageGraph> graph,
                                       const StagePools& pools, const OrchestratorQueues& queues,
                                       std::shared_ptr<OrchestratorMailbox> mailbox,
                                       OrchestratorOptions options)
    : queues_(queues),
      mailbox_(std::move(mailbox)),
      orchestrator_(std::move(graph), pools, queues, Clock::steady(), std::move(options)) {
  queues_.requests.on_ready([this] { post(RequestsReadyMessage{}); });
  queues_.outputs.on_room([this] { post(OutputRoomMessage{}); });
  queues_.rpc_outputs.on_room([this] { post(OutputRoomMessage{}); });
}

OrchestratorThread::~OrchestratorThread() {
  queues_.requests.close();
  shut_down();
}

void OrchestratorThread::start() {
  running_.store(true, std::memory_order_release);
  thread_ = std::thread([this] { loop(); });
}

void OrchestratorThread::post(OrchestratorMessage message) {
  // The loop never blocks, so room comes; a closed mailbox means that nobody listens any more.
  mailbox_->push(std::move(message), Deadline::never());
}

void OrchestratorThread::shut_down() {
  if (!thread_.joinable()) return;
  post(ShutdownMessage{});
  thread_.join();
}

void OrchestratorThread::loop() {
  set_thread_name("orchestrator");
  try {
    std::vector<OrchestratorMessage> batch;
    while (!orchestrator_.stopped()) {
      const std::optional<TimePoint> timer = orchestrator_.next_timer();
      const Deadline until = timer ? Deadline::at(*timer) : Deadline::never();
      if (mailbox_->pop_all(batch, until, kSpin) == 0 && mailbox_->drained()) break;
      for (OrchestratorMessage& message : batch) orchestrator_.handle(std::move(message));
      batch.clear();
      const std::optional<TimePoint> due = orchestrator_.next_timer();
      if (due && Clock::steady().now() >= *due) orchestrator_.handle(TimerMessage{});
    }
  } catch (...) {
    die(status_of_current_exception("The orchestrator"));
  }
  mailbox_->close();
  running_.store(false, std::memory_order_release);
}

void OrchestratorThread::die(const Status& cause) {
  spdlog::error("{}", cause.message());
  queues_.requests.close();
  try {
    orchestrator_.handle(ShutdownMessage{cause});
  } catch (...) {
    spdlog::error("{}", status_of_current_exception("Ending the requests").message());
  }
  queues_.outputs.force_push(ErrorMessage{{}, std::nullopt, cause, true});
  queues_.outputs.close();
}

}  // namespace tutti
