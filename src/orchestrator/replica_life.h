// ReplicaLife: starts, deaths, restarts, additions and removals of the pools' replicas. What a
// death means for requests is the orchestrator's business.
//
// Thread: the orchestrator's. Invariants: a replica that was ready once is started again after its
// death, with back-off, until it is removed; one that never was is dead for good (a failed
// initialisation) or, when it was added later, gone; every ReplicaMessage gets one answer.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "orchestrator/answer_buffer.h"
#include "orchestrator/rpc_calls.h"
#include "orchestrator/timers.h"
#include "stages/stage_graph.h"
#include "stages/stage_pool.h"

namespace tutti {

class ReplicaLife {
 public:
  ReplicaLife(const StageGraph& graph, const StagePools& pools, AnswerBuffer& answers,
              Timers& timers, const Clock& clock)
      : graph_(graph), pools_(pools), answers_(answers), timers_(timers), clock_(clock) {}

  void ready(int32_t stage, ReplicaId replica);
  void died(int32_t stage, ReplicaId replica, const Status& cause);
  // Its last sequence has ended.
  void idle(int32_t stage, ReplicaId replica);
  void restart(uint64_t timer_id);

  void add(const ReplicaMessage& message);
  void remove(const ReplicaMessage& message);
  // Answers every open call with `cause`.
  void end_all(const Status& cause);

  static int32_t stage_of(uint64_t timer_id) { return static_cast<int32_t>(timer_id >> 32); }

 private:
  struct History {
    bool was_ready = false;
    int32_t deaths = 0;  // in a row
    TimePoint ready_since;
    std::optional<uint64_t> add_ticket;     // somebody waits for it to become ready
    std::optional<uint64_t> remove_ticket;  // or to be gone
    TimePoint restart_at = TimePoint::max();
  };
  static uint64_t timer_id(int32_t stage, ReplicaId replica) {
    return (static_cast<uint64_t>(stage) << 32) | static_cast<uint32_t>(replica.value);
  }
  History& history(int32_t stage, ReplicaId replica) { return histories_[{stage, replica.value}]; }
  void plan_restart(int32_t stage, ReplicaId replica);
  void begin_life(int32_t stage, ReplicaId replica, ReplicaState state);
  void gone(int32_t stage, ReplicaId replica);
  Status check_removal(const ReplicaMessage& message) const;

  const StageGraph& graph_;
  const StagePools& pools_;
  AnswerBuffer& answers_;
  Timers& timers_;
  const Clock& clock_;
  std::map<std::pair<int32_t, int32_t>, History> histories_;  // by stage and replica
};

}  // namespace tutti
