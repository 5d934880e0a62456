// StagePool: one logical stage: its replicas, their life cycle and the router in front of them.
//
// Thread: the orchestrator's, except state(), outstanding() and StageClient::stats(),
// which any thread may read. Owns the clients. The set of replicas is fixed after construction.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "stages/stage_client.h"

namespace tutti {

enum class ReplicaState : uint8_t { kStarting, kReady, kDraining, kDead };
std::string_view replica_state_name(ReplicaState state);

class StageReplica {
 public:
  explicit StageReplica(std::unique_ptr<StageClient> client) : client_(std::move(client)) {}

  StageClient& client() const { return *client_; }
  ReplicaState state() const { return state_.load(std::memory_order_relaxed); }
  void set_state(ReplicaState state);
  // Requests bound to it.
  int64_t outstanding() const { return outstanding_.load(std::memory_order_relaxed); }
  void bind() { outstanding_.fetch_add(1, std::memory_order_relaxed); }
  void release() { outstanding_.fetch_sub(1, std::memory_order_relaxed); }

  // In order, never blocking: what does not fit in the replica's mailbox waits here. Bounded by the
  // live requests' own limits, since only they send.
  void send(StageCommand command);
  // The mailbox has room again.
  void flush();
  size_t waiting_commands() const { return outbox_.size(); }

 private:
  const std::unique_ptr<StageClient> client_;
  std::deque<StageCommand> outbox_;
  std::atomic<ReplicaState> state_{ReplicaState::kStarting};
  std::atomic<int64_t> outstanding_{0};
};

class StagePool {
 public:
  explicit StagePool(std::vector<std::unique_ptr<StageClient>> clients);

  // The ready replica with the least outstanding requests, the first on ties; null when none is
  // ready. Requests stay with the replica they were given (the caller keeps its id).
  StageReplica* pick(ReplicaId* id);
  StageReplica& replica(ReplicaId id) const { return *replicas_[id.value]; }
  int32_t size() const { return static_cast<int32_t>(replicas_.size()); }
  // Any thread.
  bool has_live_replica() const;

 private:
  std::vector<std::unique_ptr<StageReplica>> replicas_;
};

}  // namespace tutti
