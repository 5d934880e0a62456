// SimStageClient: a replica without a thread: the world decides when it loads, takes commands and
// steps, and when it dies.
//
// Thread: the world's.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/dual_queue.h"
#include "stages/replica_core.h"
#include "stages/testing/fake_stage_engine.h"

namespace tutti::sim {

// A mistake that is planted to see the simulator find it.
enum class Bug : uint8_t {
  kNone,
  kLostAbort,       // a replica forgets an abort
  kDoubleTerminal,  // a terminal message comes twice
  kLeakedBinding,   // a request that has left a replica is still counted there
  kWrongOrder,      // two chunks of one sequence change places
  kMissedRestart,   // a replica that died is not started again
};

class SimStageClient final : public StageClient {
 public:
  struct Setup {
    StageId stage;
    ReplicaId replica;
    uint32_t incarnation = 0;
    std::shared_ptr<const StageGraph> graph;
    fake::FakeOptions engine;
    size_t mailbox_capacity = 8;
    StageEventSink sink;
    // Asked before a command is taken: whether the planted bug strikes.
    std::function<bool(Bug)> strikes;
  };
  explicit SimStageClient(Setup setup);

  bool try_send(StageCommand& command) override;
  EngineStats stats() const override { return core_ ? core_->stats() : EngineStats{}; }
  void stop() override;
  bool join(Deadline) override { return true; }

  StageId stage() const { return setup_.stage; }
  ReplicaId replica() const { return setup_.replica; }
  bool loading() const { return !core_ && !over_; }
  bool over() const { return over_; }  // dead or stopped
  bool has_commands() const { return core_ && mailbox_.size() > 0; }
  bool runnable() const { return core_ && core_->has_runnable_work(); }
  bool first_life() const { return setup_.incarnation == 0; }

  void load();
  void take(int64_t count);
  void step();
  void die(const Status& cause);

 private:
  void post(auto body) {
    if (!over_) {
      setup_.sink({setup_.stage, setup_.replica, std::move(body), setup_.incarnation});
    }
  }
  void apply(StageCommand command, std::vector<StageOutput>& outputs);
  void answer(std::vector<StageOutput> outputs);

  Setup setup_;
  std::unique_ptr<ReplicaCore> core_;
  DualQueue<StageCommand> mailbox_;
  std::optional<ChunkCommand> delayed_;  // behind the next of its sequence
  bool over_ = false;
};

}  // namespace tutti::sim
