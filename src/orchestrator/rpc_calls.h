// RpcCalls: control methods under way: fanned out to replicas, their answers gathered.
//
// Thread: the orchestrator's. Invariants: every call gets exactly one answer, at its deadline at
// the latest; results are ordered by stage, then replica; answers that come later are dropped.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "orchestrator/answer_buffer.h"
#include "orchestrator/timers.h"
#include "stages/stage_graph.h"
#include "stages/stage_pool.h"

namespace tutti {

using StagePools = std::vector<std::unique_ptr<StagePool>>;

class RpcCalls {
 public:
  RpcCalls(const StageGraph& graph, const StagePools& pools, AnswerBuffer& answers, Timers& timers)
      : graph_(graph), pools_(pools), answers_(answers), timers_(timers) {}

  void call(RpcMessage message);
  // A replica has answered the command with this ticket.
  void answer(uint64_t ticket, Result<std::string> result);
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
  };
  struct Call {
    uint64_t ticket = 0;  // of the caller
    TimePoint deadline;
    std::vector<Entry> entries;
    size_t left = 0;
  };
  using Position = std::map<uint64_t, Call>::iterator;

  Status check_stages(RpcMessage& message) const;
  void ask_stage(const RpcMessage& message, int32_t stage, uint64_t id, Call& call);
  void close_entry(Position call, Entry& entry);
  void finish(Position call, Status status);

  const StageGraph& graph_;
  const StagePools& pools_;
  AnswerBuffer& answers_;
  Timers& timers_;
  // Few at a time. Calls by their number, in order; commands by theirs: callers' tickets may
  // repeat.
  std::map<uint64_t, Call> calls_;
  std::map<uint64_t, uint64_t> call_of_;  // command -> call
  uint64_t next_ = 1;
};

}  // namespace tutti
