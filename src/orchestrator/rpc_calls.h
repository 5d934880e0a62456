// RpcCalls: control methods under way: fanned out to replicas, their answers gathered. What they
// make of a stage holds for its later replicas, too (StageState).
//
// Thread: the orchestrator's. Invariants: every call gets exactly one answer, at its deadline at
// the latest; results are ordered by stage, then replica; answers that come later are dropped, and
// so are commands that no replica has taken by then. Stages fall asleep together or not at all.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "orchestrator/answer_buffer.h"
#include "orchestrator/stage_state.h"
#include "orchestrator/timers.h"
#include "stages/stage_graph.h"
#include "stages/stage_pool.h"

namespace tutti {

using StagePools = std::vector<std::unique_ptr<StagePool>>;

class RpcCalls {
 public:
  // max_loras: of each replica.
  RpcCalls(const StageGraph& graph, const StagePools& pools, AnswerBuffer& answers, Timers& timers,
           size_t max_loras)
      : graph_(graph),
        pools_(pools),
        answers_(answers),
        timers_(timers),
        states_(static_cast<size_t>(graph.size()), StageState(max_loras)) {}

  void call(RpcMessage message);
  // A replica has answered the command with this ticket.
  void answer(uint64_t ticket, Result<std::string> result);
  // A life begins: brings it to its stage's state, before anything else is sent to it.
  void replica_ready(int32_t stage, ReplicaId replica);
  void replica_gone(int32_t stage, ReplicaId replica, const Status& cause);
  void deadline_passed(uint64_t call);
  // Answers every call with `cause`.
  void end_all(const Status& cause);
  size_t size() const { return calls_.size(); }

 private:
  struct Entry {
    RpcResult result;
    uint64_t ticket = 0;  // of the command
    bool open = true;
    bool gone = false;  // it ended without an answer; none: the stage has no replica
  };
  struct Call {
    RpcMessage message;
    std::vector<int> sleep_levels;  // of its stages, before it
    std::vector<Entry> entries;
    size_t left = 0;
  };
  using Position = std::map<uint64_t, Call>::iterator;

  Status check_stages(RpcMessage& message) const;
  void ask_stage(int32_t stage, uint64_t id, Call& call);
  void close_entry(Position call, Entry& entry);
  void finish(Position call, Status status);
  // What the call has made of its stages; not OK: why they did not fall asleep.
  Status settle(const Call& call, bool in_time);
  bool asked(const Call& call, int32_t stage, int32_t replica) const;
  void send(StageReplica& replica, std::vector<RpcCommand> commands) const;
  // To the replicas of `stage` that the call has not reached (or to all).
  void send_others(int32_t stage, const Call* call, const std::vector<RpcCommand>& commands) const;
  void drop_commands(const Call& call);
  void show(int32_t stage) const;

  const StageGraph& graph_;
  const StagePools& pools_;
  AnswerBuffer& answers_;
  Timers& timers_;
  // Few at a time. Calls by their number, in order; commands by theirs: callers' tickets may
  // repeat.
  std::map<uint64_t, Call> calls_;
  std::map<uint64_t, uint64_t> call_of_;  // command -> call
  uint64_t next_ = 1;
  std::vector<StageState> states_;  // by stage
};

}  // namespace tutti
