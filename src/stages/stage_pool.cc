#include "stages/stage_pool.h"

#include <utility>

#include "base/check.h"
#include "base/random.h"

namespace tutti {
namespace {

constexpr ReplicaId kNoReplica(-1);

}  // namespace

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
    case ReplicaState::kRestarting:
      return "restarting";
    case ReplicaState::kRemoved:
      return "removed";
  }
  return "";
}

EngineStats StageReplica::stats() const {
  std::shared_ptr<StageClient> client;
  {
    const std::lock_guard lock(mutex_);
    client = client_;
  }
  return client ? client->stats() : EngineStats{};
}

std::shared_ptr<StageClient> StageReplica::exchange_client(std::shared_ptr<StageClient> client) {
  const std::lock_guard lock(mutex_);
  return std::exchange(client_, std::move(client));
}

void StageReplica::send(StageCommand command) {
  if (!client_) return;
  if (!outbox_.empty() || !client_->try_send(command)) outbox_.push_back(std::move(command));
}

void StageReplica::flush() {
  while (!outbox_.empty() && client_->try_send(outbox_.front())) outbox_.pop_front();
}

bool StageReplica::drop_rpcs(uint64_t ticket) {
  return std::erase_if(outbox_, [ticket](const StageCommand& command) {
           const auto* rpc = std::get_if<RpcCommand>(&command);
           return rpc != nullptr && rpc->ticket == ticket;
         }) > 0;
}

StagePool::StagePool(ReplicaFactory factory, int32_t num_replicas, PoolOptions options)
    : factory_(std::move(factory)), options_(std::move(options)) {
  TUTTI_CHECK(num_replicas >= 1 && num_replicas <= kMaxReplicas, "1 to 64 replicas");
  for (int32_t i = 0; i < num_replicas; ++i) start(*add_slot(), ReplicaState::kStarting);
}

StagePool::~StagePool() = default;

std::optional<ReplicaId> StagePool::add_slot() {
  const int32_t count = size();
  for (int32_t i = 0; i < count; ++i) {
    if (slots_[i]->state() == ReplicaState::kRemoved) return ReplicaId(i);
  }
  if (count == kMaxReplicas) return std::nullopt;
  slots_[count] = std::make_unique<StageReplica>();
  size_.store(count + 1, std::memory_order_release);
  return ReplicaId(count);
}

void StagePool::start(ReplicaId id, ReplicaState state) {
  StageReplica& slot = replica(id);
  slot.set_state(state);
  slot.incarnation_ = slot.lives_++;
  std::shared_ptr<StageClient> client = factory_(id, slot.incarnation_);
  TUTTI_CHECK(client != nullptr, "a factory makes a client or throws");
  slot.exchange_client(std::move(client));
}

void StagePool::retire(ReplicaId id, ReplicaState state) {
  StageReplica& slot = replica(id);
  slot.set_state(state);
  slot.outbox_.clear();
  std::shared_ptr<StageClient> client = slot.exchange_client(nullptr);
  if (!client) return;
  client->stop();
  if (options_.dispose) options_.dispose(std::move(client));
}

RouteResult StagePool::route(const Route& route, ReplicaId* id) {
  bool coming = false;
  const auto comes = [](ReplicaState state) {
    return state == ReplicaState::kStarting || state == ReplicaState::kRestarting;
  };
  if (route.rank) {
    if (*route.rank < 0 || *route.rank >= size()) return RouteResult::kNone;
    *id = ReplicaId(*route.rank);
    const ReplicaState state = replica(*id).state();
    if (state == ReplicaState::kReady) return RouteResult::kReady;
    return comes(state) ? RouteResult::kWait : RouteResult::kNone;
  }
  switch (options_.router) {
    case RouterPolicy::kLeastOutstanding:
      *id = least_outstanding();
      break;
    case RouterPolicy::kRoundRobin:
      *id = next_in_turn();
      break;
    case RouterPolicy::kSticky:
      *id = highest_hash(route.hash);
      break;
  }
  if (*id != kNoReplica) return RouteResult::kReady;
  for (int32_t i = 0; i < size(); ++i) coming |= comes(slots_[i]->state());
  return coming ? RouteResult::kWait : RouteResult::kNone;
}

ReplicaId StagePool::least_outstanding() const {
  ReplicaId best = kNoReplica;
  for (int32_t i = 0; i < size(); ++i) {
    if (slots_[i]->state() != ReplicaState::kReady) continue;
    if (best != kNoReplica && slots_[i]->outstanding() >= replica(best).outstanding()) continue;
    best = ReplicaId(i);
  }
  return best;
}

ReplicaId StagePool::next_in_turn() {
  const int32_t count = size();
  for (int32_t step = 1; step <= count; ++step) {
    const int32_t i = (last_in_turn_ + step) % count;
    if (slots_[i]->state() != ReplicaState::kReady) continue;
    last_in_turn_ = i;
    return ReplicaId(i);
  }
  return kNoReplica;
}

// Rendezvous hashing (Thaler, Ravishankar 1998): when a replica goes, only its own requests move.
ReplicaId StagePool::highest_hash(uint64_t hash) const {
  ReplicaId best = kNoReplica;
  uint64_t highest = 0;
  for (int32_t i = 0; i < size(); ++i) {
    if (slots_[i]->state() != ReplicaState::kReady) continue;
    const uint64_t score = mix64(hash ^ mix64(static_cast<uint64_t>(i)));
    if (best != kNoReplica && score <= highest) continue;
    best = ReplicaId(i);
    highest = score;
  }
  return best;
}

int32_t StagePool::active_replicas() const {
  int32_t count = 0;
  for (int32_t i = 0; i < size(); ++i) {
    const ReplicaState state = slots_[i]->state();
    count += state == ReplicaState::kStarting || state == ReplicaState::kReady ||
             state == ReplicaState::kRestarting;
  }
  return count;
}

bool StagePool::has_live_replica() const {
  for (int32_t i = 0; i < size(); ++i) {
    if (slots_[i]->state() == ReplicaState::kReady) return true;
  }
  return false;
}

void StagePool::stop() {
  for (int32_t i = 0; i < size(); ++i) {
    if (slots_[i]->client_) slots_[i]->client_->stop();
  }
}

bool StagePool::join(Deadline deadline) {
  bool all = true;
  for (int32_t i = 0; i < size(); ++i) {
    if (slots_[i]->client_) all &= slots_[i]->client_->join(deadline);
    slots_[i]->set_state(ReplicaState::kDead);
  }
  return all;
}

}  // namespace tutti
