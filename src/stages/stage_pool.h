// StagePool: one logical stage: its replicas, their life cycle and the router in front of them.
//
// Thread: the orchestrator's, except size(), has_live_replica(), paused(), sleep_level() and of a
// replica state(), outstanding() and stats(), which any thread may call; stop() and join() when the
// orchestrator has ended. Owns the clients; those of replicas that have ended go to
// PoolOptions::dispose. Invariants: slots are never freed, so that references stay valid; a slot's
// incarnation only grows.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>

#include "tutti/options.h"

#include "stages/stage_client.h"

namespace tutti {

enum class ReplicaState : uint8_t {
  kStarting,
  kReady,
  kDraining,    // takes no new requests and goes when its last one has ended
  kDead,        // for good
  kRestarting,  // died; waits for its next start, or is loading again
  kRemoved,     // an empty slot
};
std::string_view replica_state_name(ReplicaState state);

// Makes the client of one life of a replica; its events carry `incarnation`. Must not wait.
using ReplicaFactory =
    std::function<std::unique_ptr<StageClient>(ReplicaId replica, uint32_t incarnation)>;
// Takes over a client that has been told to stop. Must not wait (see ClientReaper).
using ClientDisposal = std::function<void(std::shared_ptr<StageClient>)>;

struct PoolOptions {
  RouterPolicy router = RouterPolicy::kLeastOutstanding;
  // A replica that died starts again after this; each further time after twice as long, up to the
  // maximum, until it has been ready for `healthy_after`.
  Duration min_backoff = std::chrono::milliseconds(100);
  Duration max_backoff = std::chrono::seconds(30);
  Duration healthy_after = std::chrono::seconds(60);
  ClientDisposal dispose = {};  // none: destroyed at once
};

class StageReplica {
 public:
  // --- any thread
  ReplicaState state() const { return state_.load(std::memory_order_relaxed); }
  // Sequences bound to it.
  int64_t outstanding() const { return outstanding_.load(std::memory_order_relaxed); }
  // Of its present life; zeros when it has none.
  EngineStats stats() const;

  // --- the orchestrator's thread
  // Events of other incarnations are those of an earlier life.
  uint32_t incarnation() const { return incarnation_; }
  bool answers() const { return state() == ReplicaState::kReady || drains(); }
  bool drains() const { return state() == ReplicaState::kDraining; }
  StageClient* client() const { return client_.get(); }
  void set_state(ReplicaState state) { state_.store(state, std::memory_order_relaxed); }
  void bind() { outstanding_.fetch_add(1, std::memory_order_relaxed); }
  void release() { outstanding_.fetch_sub(1, std::memory_order_relaxed); }

  // In order, never blocking: what does not fit in the replica's mailbox waits here. Bounded: by
  // the live requests' own limits, and by the control calls under way, whose commands are dropped
  // when their time is over.
  void send(StageCommand command);
  // Control methods with this ticket that still wait here are not wanted any more; whether there
  // were any.
  bool drop_rpcs(uint64_t ticket);
  // The mailbox has room again.
  void flush();
  size_t waiting_commands() const { return outbox_.size(); }

 private:
  friend class StagePool;
  std::shared_ptr<StageClient> exchange_client(std::shared_ptr<StageClient> client);

  mutable std::mutex mutex_;             // guards the pointer against stats(), not the client
  std::shared_ptr<StageClient> client_;  // null between two lives
  std::deque<StageCommand> outbox_;
  uint32_t incarnation_ = 0;
  uint32_t lives_ = 0;
  std::atomic<ReplicaState> state_{ReplicaState::kRemoved};
  std::atomic<int64_t> outstanding_{0};
};

// What the router looks at.
struct Route {
  std::optional<int32_t> rank;  // this replica and no other
  uint64_t hash = 0;            // of equal hash: to the same replica (sticky)
};
enum class RouteResult : uint8_t {
  kReady,  // found
  kWait,   // none is ready, but one is starting
  kNone,
};

class StagePool {
 public:
  static constexpr int32_t kMaxReplicas = 64;

  // Starts `num_replicas` (1 to kMaxReplicas).
  StagePool(ReplicaFactory factory, int32_t num_replicas, PoolOptions options = {});
  ~StagePool();

  // Requests stay with the replica they were given (the caller keeps its id).
  RouteResult route(const Route& route, ReplicaId* id);
  StageReplica& replica(ReplicaId id) const { return *slots_[static_cast<size_t>(id.value)]; }
  const PoolOptions& options() const { return options_; }

  // Begins the slot's next life in `state`. The factory's exceptions pass through.
  void start(ReplicaId id, ReplicaState state);
  // Lets go of the slot's client and of commands that wait for it.
  void retire(ReplicaId id, ReplicaState state);
  // An empty slot, or none.
  std::optional<ReplicaId> add_slot();
  // Replicas that take requests or will.
  int32_t active_replicas() const;

  // For stage_pools(): what the stage was asked to be.
  void show_state(bool paused, int32_t sleep_level) {
    paused_.store(paused, std::memory_order_relaxed);
    sleep_level_.store(sleep_level, std::memory_order_relaxed);
  }
  bool paused() const { return paused_.load(std::memory_order_relaxed); }
  int32_t sleep_level() const { return sleep_level_.load(std::memory_order_relaxed); }

  // Slots, empty ones too.
  int32_t size() const { return size_.load(std::memory_order_acquire); }
  bool has_live_replica() const;

  // All replicas at once; join() is false when the deadline came first.
  void stop();
  bool join(Deadline deadline);

 private:
  ReplicaId least_outstanding() const;
  ReplicaId next_in_turn();
  ReplicaId highest_hash(uint64_t hash) const;

  const ReplicaFactory factory_;
  const PoolOptions options_;
  std::array<std::unique_ptr<StageReplica>, kMaxReplicas> slots_;
  std::atomic<int32_t> size_{0};
  std::atomic<bool> paused_{false};
  std::atomic<int32_t> sleep_level_{0};
  int32_t last_in_turn_ = -1;
};

}  // namespace tutti
