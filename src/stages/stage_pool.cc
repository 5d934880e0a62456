#include "stages/stage_pool.h"

namespace tutti {

std::string_view replica_state_name(ReplicaState state) {
  switch (state) {
    case ReplicaState::kStarting:
      return "starting";
    case ReplicaState::kReady:
      return "ready";
    case ReplicaState::kDraining:
      return "draining";
    case ReplicaState::kDead:
      return "dead";
  }
  return "";
}

void StageReplica::set_state(ReplicaState state) {
  state_.store(state, std::memory_order_relaxed);
  if (state == ReplicaState::kDead) outbox_.clear();
}

void StageReplica::send(StageCommand command) {
  if (state() == ReplicaState::kDead) return;
  if (!outbox_.empty() || !client_->try_send(command)) outbox_.push_back(std::move(command));
}

void StageReplica::flush() {
  while (!outbox_.empty() && client_->try_send(outbox_.front())) outbox_.pop_front();
}

StagePool::StagePool(std::vector<std::unique_ptr<StageClient>> clients) {
  for (auto& client : clients) {
    replicas_.push_back(std::make_unique<StageReplica>(std::move(client)));
  }
}

StageReplica* StagePool::pick(ReplicaId* id) {
  StageReplica* best = nullptr;
  for (int32_t i = 0; i < size(); ++i) {
    StageReplica* candidate = replicas_[i].get();
    if (candidate->state() != ReplicaState::kReady) continue;
    if (best && candidate->outstanding() >= best->outstanding()) continue;
    best = candidate;
    *id = ReplicaId(i);
  }
  return best;
}

bool StagePool::has_live_replica() const {
  for (const auto& replica : replicas_) {
    if (replica->state() == ReplicaState::kReady) return true;
  }
  return false;
}

}  // namespace tutti
