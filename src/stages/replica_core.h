// ReplicaCore: what a replica does with a command and with a step, whatever thread or process it
// runs in. Turns every failure of one sequence into that sequence's last output.
//
// Control methods (replica_control.cc) take their arguments as a JSON object and answer with JSON.
// A paused replica takes commands and steps no further; a sleeping one refuses requests too, and
// has given back its KV cache (level 1) or its whole engine (level 2).
// Thread: the replica's own. Invariants: each submitted sequence yields exactly one output with
// `finished`, unless it was aborted or the replica failed.
#pragma once

#include <boost/json/fwd.hpp>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/trace_recorder.h"
#include "engine/stage_engine.h"
#include "stages/stage_client.h"

namespace tutti {

using CommandAnswer = std::variant<AbortedEvent, RpcEvent>;
// Makes the engine, on the replica's thread. The function object lives as long as the engine, so it
// may own what the engine borrows (executor, pipeline).
using StageEngineFactory = std::function<Result<std::unique_ptr<StageEngine>>()>;

class ReplicaCore {
 public:
  // factory: makes the engine again after a sleep of level 2; without it there is none.
  ReplicaCore(StageId stage, ReplicaId replica, std::shared_ptr<const StageGraph> graph,
              std::unique_ptr<StageEngine> engine, StageEngineFactory factory = {});

  // Failures of the command's sequence are appended to `outputs`.
  void apply(StageCommand command, std::vector<StageOutput>& outputs);
  bool has_runnable_work() const {
    return !paused_ && sleep_level_ == 0 && engine_->has_runnable_work();
  }
  // When there will be work though no command comes; never, for most engines.
  Deadline wake_at() const {
    return paused_ || sleep_level_ > 0 ? Deadline::never() : Deadline::at(engine_->wake_at());
  }
  // Not OK: the step threw, the engine's state is uncertain and the replica must not go on.
  Status step(std::vector<StageOutput>& outputs);
  // Answers to aborts and control methods since the last call. They come after the outputs that
  // apply() and step() have appended.
  std::vector<CommandAnswer> take_answers() { return std::exchange(answers_, {}); }
  EngineStats stats() const { return engine_ ? engine_->stats() : EngineStats(); }

 private:
  Status submit(SubmitCommand& command);
  Status append(ChunkCommand& command);
  Status check_awake() const;

  // Control methods.
  struct Method;
  static std::span<const Method> methods();
  Result<std::string> call(const RpcCommand& command);
  Result<std::string> ping(const boost::json::object& args);
  Result<std::string> report_stats(const boost::json::object& args);
  Result<std::string> reset_prefix_cache(const boost::json::object& args);
  Result<std::string> reset_mm_cache(const boost::json::object& args);
  Result<std::string> pause(const boost::json::object& args);
  Result<std::string> resume(const boost::json::object& args);
  Result<std::string> sleep(const boost::json::object& args);
  Result<std::string> wake_up(const boost::json::object& args);
  Result<std::string> start_profile(const boost::json::object& args);
  Result<std::string> stop_profile(const boost::json::object& args);
  void record_step(const StepReport& step);

  const int32_t stage_;
  const int32_t replica_;
  const std::shared_ptr<const StageGraph> graph_;
  std::unique_ptr<StageEngine> engine_;  // null: asleep at level 2
  const StageEngineFactory factory_;
  bool paused_ = false;
  int sleep_level_ = 0;
  std::unique_ptr<TraceRecorder> profile_;  // while steps are recorded
  std::string profile_path_;
  std::vector<CommandAnswer> answers_;
};

// The message of an exception, for a Status.
Status status_of_current_exception(const std::string& what_failed);

}  // namespace tutti
