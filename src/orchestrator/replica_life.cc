#include "orchestrator/replica_life.h"

#include <fmt/format.h>

#include <algorithm>

#include "stages/replica_core.h"

namespace tutti {

void ReplicaLife::ready(int32_t stage, ReplicaId replica) {
  StageReplica& slot = pools_[stage]->replica(replica);
  History& past = history(stage, replica);
  past.was_ready = true;
  past.ready_since = clock_.now();
  slot.set_state(ReplicaState::kReady);
  if (past.add_ticket) {
    answers_.emit(ReplicaAnswer{*past.add_ticket, replica.value});
    past.add_ticket.reset();
  }
}

void ReplicaLife::died(int32_t stage, ReplicaId replica, const Status& cause) {
  StagePool& pool = *pools_[stage];
  History& past = history(stage, replica);
  if (pool.replica(replica).drains()) return gone(stage, replica);
  if (past.add_ticket) {
    answers_.emit(ReplicaAnswer{*past.add_ticket, cause});
    past.add_ticket.reset();
    return gone(stage, replica);
  }
  if (!past.was_ready) return pool.retire(replica, ReplicaState::kDead);
  pool.retire(replica, ReplicaState::kRestarting);
  plan_restart(stage, replica);
}

void ReplicaLife::plan_restart(int32_t stage, ReplicaId replica) {
  const PoolOptions& options = pools_[stage]->options();
  History& past = history(stage, replica);
  const TimePoint now = clock_.now();
  if (past.ready_since != TimePoint() && now - past.ready_since >= options.healthy_after) {
    past.deaths = 0;
  }
  past.ready_since = TimePoint();
  Duration delay = options.min_backoff;
  for (int32_t i = 0; i < past.deaths && delay < options.max_backoff; ++i) delay *= 2;
  ++past.deaths;
  past.restart_at = now + std::min(delay, options.max_backoff);
  timers_.set({past.restart_at, TimerKind::kReplica, timer_id(stage, replica)});
}

void ReplicaLife::restart(uint64_t id) {
  const int32_t stage = stage_of(id);
  const ReplicaId replica(static_cast<int32_t>(id & 0xFFFFFFFFu));
  history(stage, replica).restart_at = TimePoint::max();
  begin_life(stage, replica, ReplicaState::kRestarting);
}

void ReplicaLife::begin_life(int32_t stage, ReplicaId replica, ReplicaState state) {
  try {
    pools_[stage]->start(replica, state);
  } catch (...) {
    died(stage, replica, status_of_current_exception("Starting " + graph_.describe(stage)));
  }
}

void ReplicaLife::idle(int32_t stage, ReplicaId replica) {
  if (pools_[stage]->replica(replica).drains()) gone(stage, replica);
}

void ReplicaLife::gone(int32_t stage, ReplicaId replica) {
  pools_[stage]->retire(replica, ReplicaState::kRemoved);
  const auto found = histories_.find({stage, replica.value});
  if (found == histories_.end()) return;
  const History past = found->second;
  histories_.erase(found);
  if (past.restart_at != TimePoint::max()) {
    timers_.clear({past.restart_at, TimerKind::kReplica, timer_id(stage, replica)});
  }
  if (past.remove_ticket) answers_.emit(ReplicaAnswer{*past.remove_ticket, replica.value});
}

void ReplicaLife::add(const ReplicaMessage& message) {
  const std::optional<ReplicaId> slot = pools_[message.stage_id]->add_slot();
  if (!slot) {
    answers_.emit(ReplicaAnswer{
        message.ticket, resource_exhausted(fmt::format("{} has {} replicas; more are not allowed.",
                                                       graph_.describe(message.stage_id),
                                                       StagePool::kMaxReplicas))});
    return;
  }
  history(message.stage_id, *slot).add_ticket = message.ticket;
  begin_life(message.stage_id, *slot, ReplicaState::kStarting);
}

Status ReplicaLife::check_removal(const ReplicaMessage& message) const {
  const StagePool& pool = *pools_[message.stage_id];
  const int32_t id = *message.remove;
  const bool known =
      id >= 0 && id < pool.size() && pool.replica(ReplicaId(id)).state() != ReplicaState::kRemoved;
  if (!known) {
    std::string ids;
    for (int32_t r = 0; r < pool.size(); ++r) {
      if (pool.replica(ReplicaId(r)).state() == ReplicaState::kRemoved) continue;
      ids += fmt::format("{}{}", ids.empty() ? "" : ", ", r);
    }
    return not_found(fmt::format("{} has no replica {}; it has: {}.",
                                 graph_.describe(message.stage_id), id, ids));
  }
  const ReplicaState state = pool.replica(ReplicaId(id)).state();
  if (state == ReplicaState::kDraining) {
    return invalid_argument(fmt::format("Replica {} of {} is being removed already.", id,
                                        graph_.describe(message.stage_id)));
  }
  if (state != ReplicaState::kDead && pool.active_replicas() == 1) {
    return invalid_argument(fmt::format("Replica {} is the last one of {}; one must stay.", id,
                                        graph_.describe(message.stage_id)));
  }
  return {};
}

void ReplicaLife::remove(const ReplicaMessage& message) {
  Status status = check_removal(message);
  if (!status.ok()) {
    answers_.emit(ReplicaAnswer{message.ticket, std::move(status)});
    return;
  }
  const ReplicaId replica(*message.remove);
  StageReplica& slot = pools_[message.stage_id]->replica(replica);
  History& past = history(message.stage_id, replica);
  past.remove_ticket = message.ticket;
  if (past.add_ticket) {
    answers_.emit(ReplicaAnswer{*past.add_ticket, unavailable("The replica has been removed.")});
    past.add_ticket.reset();
  }
  if (slot.state() == ReplicaState::kReady && slot.outstanding() > 0) {
    slot.set_state(ReplicaState::kDraining);
  } else {
    gone(message.stage_id, replica);
  }
}

void ReplicaLife::end_all(const Status& cause) {
  for (auto& [where, past] : histories_) {
    if (past.add_ticket) answers_.emit(ReplicaAnswer{*past.add_ticket, cause});
    if (past.remove_ticket) answers_.emit(ReplicaAnswer{*past.remove_ticket, cause});
    past.add_ticket.reset();
    past.remove_ticket.reset();
  }
}

}  // namespace tutti
