// ReplicaCore: what a replica does with a command and with a step, whatever thread or process it
// runs in. Turns every failure of one sequence into that sequence's last output.
//
// Thread: the replica's own. Invariants: each submitted sequence yields exactly one output with
// `finished`, unless it was aborted or the replica failed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/stage_engine.h"
#include "stages/stage_client.h"

namespace tutti {

using CommandAnswer = std::variant<AbortedEvent, RpcEvent>;

class ReplicaCore {
 public:
  ReplicaCore(StageId stage, std::shared_ptr<const StageGraph> graph,
              std::unique_ptr<StageEngine> engine);

  // Failures of the command's sequence are appended to `outputs`.
  void apply(StageCommand command, std::vector<StageOutput>& outputs);
  bool has_runnable_work() const { return engine_->has_runnable_work(); }
  // Not OK: the step threw, the engine's state is uncertain and the replica must not go on.
  Status step(std::vector<StageOutput>& outputs);
  // Answers to aborts and control methods since the last call. They come after the outputs that
  // apply() and step() have appended.
  std::vector<CommandAnswer> take_answers() { return std::exchange(answers_, {}); }
  EngineStats stats() const { return engine_->stats(); }

 private:
  Status submit(SubmitCommand& command);
  Status append(ChunkCommand& command);
  Result<std::string> call(const RpcCommand& command);

  const int32_t stage_;
  const std::shared_ptr<const StageGraph> graph_;
  const std::unique_ptr<StageEngine> engine_;
  std::vector<CommandAnswer> answers_;
};

// The message of an exception, for a Status.
Status status_of_current_exception(const std::string& what_failed);

}  // namespace tutti
