#include "stages/in_proc_stage_client.h"

#include <fmt/format.h>

#include <atomic>
#include <mutex>

#include "base/dual_queue.h"
#include "base/log.h"
#include "base/thread.h"

namespace tutti {
namespace {
constexpr double kJoinTimeout_s = 10;
}

struct InProcStageClient::Shared {
  Shared(StageId s, ReplicaId r, const InProcOptions& o)
      : stage(s), replica(r), spin(o.spin), mailbox(o.mailbox_capacity), ended(1) {}

  void post(auto body) {
    if (!stopping.load(std::memory_order_acquire)) sink({stage, replica, std::move(body)});
  }
  // Commands are swallowed from before the event on.
  void die(Status cause) {
    mailbox.close();
    post(DiedEvent{std::move(cause)});
  }
  void publish(const EngineStats& figures) {
    const std::lock_guard lock(stats_mutex);
    stats = figures;
  }

  const StageId stage;
  const ReplicaId replica;
  const Duration spin;
  std::shared_ptr<const StageGraph> graph;
  StageEngineFactory factory;
  StageEventSink sink;
  DualQueue<StageCommand> mailbox;
  std::atomic<bool> stopping{false};
  DualQueue<int> ended;  // closed by the thread as its last act
  mutable std::mutex stats_mutex;
  EngineStats stats;
};

InProcStageClient::InProcStageClient(StageId stage, ReplicaId replica,
                                     std::shared_ptr<const StageGraph> graph,
                                     StageEngineFactory factory, StageEventSink sink,
                                     InProcOptions options)
    : shared_(std::make_shared<Shared>(stage, replica, options)) {
  shared_->graph = std::move(graph);
  shared_->factory = std::move(factory);
  shared_->sink = std::move(sink);
  shared_->mailbox.on_room([s = shared_.get()] { s->post(RoomEvent{}); });
  thread_ = std::thread([shared = shared_] { run(shared); });
}

InProcStageClient::~InProcStageClient() {
  // Who has stopped it before has waited as long as it wanted to.
  const double wait_s = shared_->stopping.load() ? 0 : kJoinTimeout_s;
  stop();
  if (!join(Deadline::after(wait_s))) {
    spdlog::warn("stage-{}-{} did not end in time and is left behind", shared_->stage.value,
                 shared_->replica.value);
    thread_.detach();
  }
}

bool InProcStageClient::try_send(StageCommand& command) {
  return shared_->mailbox.try_push(std::move(command)) != QueueResult::kFull;
}

EngineStats InProcStageClient::stats() const {
  const std::lock_guard lock(shared_->stats_mutex);
  return shared_->stats;
}

void InProcStageClient::stop() {
  shared_->stopping.store(true, std::memory_order_release);
  shared_->mailbox.close();
}

bool InProcStageClient::join(Deadline deadline) {
  if (!thread_.joinable()) return true;
  shared_->ended.pop(deadline);
  if (!shared_->ended.drained()) return false;
  thread_.join();
  return true;
}

void InProcStageClient::run(const std::shared_ptr<Shared>& shared) {
  Shared& s = *shared;
  set_thread_name(fmt::format("stage-{}-{}", s.stage.value, s.replica.value));
  try {
    Result<std::unique_ptr<StageEngine>> engine = s.factory();
    if (!engine) {
      s.die(std::move(engine).error());
    } else {
      ReplicaCore core(s.stage, s.replica, s.graph, std::move(engine).value(), s.factory);
      s.publish(core.stats());
      s.post(ReadyEvent{});
      serve(s, core);
    }
  } catch (...) {
    s.die(status_of_current_exception(s.graph->describe(s.stage.value)));
  }
  s.mailbox.close();
  s.ended.close();
}

void InProcStageClient::serve(Shared& s, ReplicaCore& core) {
  std::vector<StageCommand> commands;
  while (!s.stopping.load(std::memory_order_acquire)) {
    commands.clear();
    if (core.has_runnable_work()) {
      s.mailbox.try_pop_all(commands);
    } else if (s.mailbox.pop_all(commands, core.wake_at(), s.spin) == 0 && s.mailbox.drained()) {
      return;
    }
    std::vector<StageOutput> outputs;
    for (StageCommand& command : commands) core.apply(std::move(command), outputs);
    Status status;
    if (core.has_runnable_work()) status = core.step(outputs);
    s.publish(core.stats());
    if (!outputs.empty()) s.post(OutputsEvent{std::move(outputs)});
    for (CommandAnswer& answer : core.take_answers()) {
      std::visit([&](auto& event) { s.post(std::move(event)); }, answer);
    }
    if (!status.ok()) {
      s.die(std::move(status));
      return;
    }
  }
}

}  // namespace tutti
