// Orchestrator: what replicas say about themselves, and what their end means for requests.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "orchestrator/orchestrator.h"

namespace tutti {

void Orchestrator::on(StageEvent event) {
  StageReplica& replica = pools_[event.stage.value]->replica(event.replica);
  // Of an earlier life, or posted before the replica was let go.
  if (event.incarnation != replica.incarnation() || !replica.client()) return;
  if (auto* outputs = std::get_if<OutputsEvent>(&event.body)) {
    on_outputs(event, outputs->outputs);
  } else if (auto* aborted = std::get_if<AbortedEvent>(&event.body)) {
    on_aborted(event, *aborted);
  } else if (std::holds_alternative<RoomEvent>(event.body)) {
    replica.flush();
  } else if (auto* answer = std::get_if<RpcEvent>(&event.body)) {
    rpc_.answer(answer->ticket, std::move(answer->result_json));
  } else if (std::holds_alternative<ReadyEvent>(event.body)) {
    on_ready(event);
  } else if (const auto* died = std::get_if<DiedEvent>(&event.body)) {
    on_died(event, died->cause);
  }
}

void Orchestrator::on_ready(const StageEvent& event) {
  life_.ready(event.stage.value, event.replica);
  if (options_.on_replica_state) {
    options_.on_replica_state(event.stage, event.replica, ReplicaState::kReady, Status());
  }
  rpc_.replica_ready(event.stage.value, event.replica);
  serve_waiting(event.stage.value);
}

Status Orchestrator::check_idle(std::span<const int32_t> stages) const {
  int64_t busy = 0;
  std::string_view first;
  int32_t where = 0;
  for (const RequestKey key : sorted_live()) {
    const RequestProgress& progress = *live_.at(key);
    // Replicas let go of the others before they come to what is sent to them now.
    if (progress.ending == Ending::kSaid || progress.ending == Ending::kAborted) continue;
    for (int32_t s = 0; s < graph_->size(); ++s) {
      const State state = progress.stages[s].state;
      if (state == State::kNotNeeded || state == State::kFinished) continue;
      if (!stages.empty() && std::ranges::find(stages, s) == stages.end()) continue;
      if (busy++ == 0) {
        first = progress.request->request_id;
        where = s;
      }
      break;
    }
  }
  if (busy == 0) return {};
  return invalid_argument(fmt::format(
      "No stage sleeps now, since {} request{} in progress; the oldest is '{}', which needs {}.",
      busy, busy == 1 ? " is" : "s are", first, graph_->describe(where)));
}

std::vector<RequestKey> Orchestrator::bound_to(int32_t stage, ReplicaId replica) const {
  std::vector<RequestKey> bound;
  const auto binds = [](State state) {
    return state == State::kRunning || state == State::kReleasing;
  };
  for (const auto& [key, progress] : live_) {
    const StageProgress& at = progress->stages[stage];
    bool any = binds(at.state);
    for (const CompanionProgress& companion : progress->companions) {
      any |= binds(companion.stages[stage]);
    }
    if (any && at.replica == replica) bound.push_back(key);
  }
  std::sort(bound.begin(), bound.end());
  return bound;
}

void Orchestrator::on_died(const StageEvent& event, const Status& cause) {
  const int32_t stage = event.stage.value;
  const std::vector<RequestKey> bound = bound_to(stage, event.replica);
  life_.died(stage, event.replica, cause);
  rpc_.replica_gone(stage, event.replica, cause);
  const Status error = unavailable(fmt::format("Replica {} of {} has died: {}", event.replica.value,
                                               graph_->describe(stage), cause.message()));
  for (const RequestKey key : bound) {
    const auto found = live_.find(key);
    if (found == live_.end()) continue;
    guarded(key, stage, "Leaving a replica", [&] { lose_replica(*found->second, stage, error); });
  }
  if (options_.on_replica_state) {
    options_.on_replica_state(event.stage, event.replica, ReplicaState::kDead, cause);
  }
  serve_waiting(stage);
}

void Orchestrator::lose_replica(RequestProgress& progress, int32_t stage, const Status& error) {
  const bool was_running = drop_sequences(progress, stage);
  if (progress.ending != Ending::kNone) {
    if (progress.open_acks == 0) settle(progress);
    return;
  }
  if (!was_running) return;  // the stage was at its end
  if (progress.delivered || progress.retries >= options_.max_retries) {
    return fail(progress, stage, error);
  }
  ++progress.retries;
  if (options_.on_retry) options_.on_retry(progress.request->key);
  release(progress, Ending::kRetried);
}

void Orchestrator::on(ReplicaMessage message) {
  const int32_t stage = message.stage_id;
  if (stage < 0 || stage >= graph_->size()) {
    answers_.emit(ReplicaAnswer{
        message.ticket,
        invalid_argument(fmt::format("`stage_id` is {}; this model has the stages 0 to {}.", stage,
                                     graph_->size() - 1))
            .with_param("stage_id")});
    return;
  }
  if (!message.remove) return life_.add(message);
  life_.remove(message);
  const StagePool& pool = *pools_[stage];
  const ReplicaId replica(*message.remove);
  const bool known = replica.value >= 0 && replica.value < pool.size();
  if (known && pool.replica(replica).state() == ReplicaState::kRemoved) {
    rpc_.replica_gone(stage, replica, unavailable("It has been removed."));
  }
  serve_waiting(stage);
}

void Orchestrator::remove_drained() {
  while (!drained_.empty()) {
    const auto [stage, replica] = drained_.back();
    drained_.pop_back();
    const StageReplica& slot = pools_[stage]->replica(replica);
    if (!slot.drains() || slot.outstanding() > 0) continue;
    life_.idle(stage, replica);
    rpc_.replica_gone(stage, replica, unavailable("It has been removed."));
    serve_waiting(stage);
  }
}

}  // namespace tutti
