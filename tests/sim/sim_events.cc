// SimWorld: what happens.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "sim/sim_log.h"
#include "sim/sim_world.h"

namespace tutti::sim {

SimStageClient& SimWorld::any_replica() {
  return *replicas_[random_.below(static_cast<int64_t>(replicas_.size()))];
}

SimWorld::Client* SimWorld::any_open_client() {
  if (open_.empty()) return nullptr;
  return find_client(open_[random_.below(static_cast<int64_t>(open_.size()))]);
}

void SimWorld::one_event() {
  ++stats_.events;
  clock_.advance(std::chrono::microseconds(random_.below(1000)));
  if (random_.chance(0.5)) tick();
  if (random_.chance(0.12)) rare_event();
  if (random_.chance(chances_.read)) return read(random_.between(1, 8));
  forget_ended_replicas();
  if (replicas_.empty()) return deliver_one();
  switch (random_.below(8)) {
    case 0:
      return arrive();
    case 1:
    case 2:
    case 3:
      return deliver_one();
    case 4:
    case 5: {
      SimStageClient& replica = any_replica();
      if (replica.loading()) return replica_loads(replica);
      return replica.take(random_.between(1, 4));
    }
    default:
      if (SimStageClient& replica = any_replica(); replica.runnable()) replica.step();
  }
}

// Chances are per event; this is called for some of them only.
void SimWorld::rare_event() {
  constexpr double kShare = 0.12;
  const auto comes = [&](double chance) { return random_.chance(chance / kShare); };
  read_answers(random_.below(3));
  if (comes(chances_.death) && !replicas_.empty()) kill_replica(any_replica());
  if (comes(chances_.abort)) ask_abort();
  if (comes(chances_.update)) ask_update();
  if (comes(chances_.call)) ask_rpc();
  if (comes(chances_.replica)) ask_replica();
  if (comes(chances_.shutdown)) shut_down();
  if (comes(chances_.pause)) clock_.advance(std::chrono::milliseconds(random_.below(3000)));
}

void SimWorld::arrive() {
  if (shutting_down_) return;
  const auto index = static_cast<int64_t>(clients_.size());
  const auto next_key = [&] {
    client_of_.push_back(index);
    return RequestKey(client_of_.size() - 1);
  };
  Client client;
  client.key = next_key();
  client.id = fmt::format("r{}", client.key.value);
  client.resumable = random_.chance(chances_.resumable);
  client.input_complete = !client.resumable;
  client.tokens.push_back(random_.chance(0.1) ? 0 : random_.between(1, max_tokens_));
  for (int32_t s : graph_->final_stages()) {
    if (random_.chance(0.6)) client.wanted.push_back(s);
  }
  if (client.wanted.empty()) client.wanted = graph_->final_stages();
  if (random_.chance(chances_.fault)) {
    client.fault = static_cast<fake::Fault>(random_.between(1, 4));
    client.fault_stage = static_cast<int32_t>(random_.below(graph_->size()));
  }
  if (client.resumable && random_.chance(chances_.early_end)) {
    client.early_stage = static_cast<int32_t>(random_.below(graph_->size()));
    client.early_segment = static_cast<int32_t>(random_.below(3));
  }
  auto request = std::make_unique<AcceptedRequest>();
  request->key = client.key;
  request->request_id = client.id;
  request->segment = segment_of(client, 0);
  request->final_output_stage_ids = client.wanted;
  request->priority = static_cast<int32_t>(random_.below(3));
  request->arrival_s = to_seconds(clock_.now() - options_.epoch);
  request->route_hash = random_.next();
  if (random_.chance(chances_.rank)) client.rank = static_cast<int32_t>(random_.below(3));
  request->data_parallel_rank = client.rank;
  if (random_.chance(chances_.deadline)) {
    client.deadline = clock_.now() + std::chrono::milliseconds(random_.below(200));
  }
  request->deadline = client.deadline;
  if (random_.chance(chances_.companion)) {
    for (int64_t i = random_.between(1, 2); i > 0; --i) {
      client.companions.push_back(next_key());
      request->companions.push_back({client.companions.back(), fmt::format("c{}", i), {}});
    }
  }
  clients_.push_back(std::move(client));
  if (requests_->try_push(std::move(request)) != QueueResult::kOk) {
    ++stats_.refused;
    clients_.back().ended = true;
    return;
  }
  const Client& accepted = clients_.back();
  log("arrives {} with {} tokens", accepted.id, accepted.tokens[0]);
  ++stats_.requests;
  client_named_[accepted.id] = index;
  open_.push_back(accepted.key);
}

uint64_t seed_of(RequestKey key, int32_t stage, int32_t segment) {
  return mix64(key.value * 1000003 + static_cast<uint64_t>(stage * 1009 + segment));
}

RequestSegment SimWorld::segment_of(const Client& client, int32_t index) {
  RequestSegment segment;
  segment.last = client.input_complete;
  segment.arrival_s = to_seconds(clock_.now() - options_.epoch);
  segment.sampling_params.resize(static_cast<size_t>(graph_->size()));
  for (int32_t s = 0; s < graph_->size(); ++s) {
    segment.sampling_params[s].max_tokens = client.tokens[index];
    segment.seeds.push_back(seed_of(client.key, s, index));
  }
  return segment;
}

void SimWorld::update(Client& client, bool last) {
  client.input_complete = last;
  client.tokens.push_back(random_.chance(0.3) ? 0 : random_.between(1, max_tokens_));
  const auto index = static_cast<int32_t>(client.tokens.size()) - 1;
  log("update {} of {} with {} tokens{}", index, client.id, client.tokens.back(),
      last ? ", the last" : "");
  ++stats_.updates;
  mailbox_.push_back(UpdateMessage{client.key, segment_of(client, index)});
}

void SimWorld::ask_update() {
  for (int tries = 0; tries < 4; ++tries) {
    Client* client = any_open_client();
    if (client && !client->input_complete) return update(*client, random_.chance(0.4));
  }
}

void SimWorld::ask_abort() {
  if (shutting_down_) return;
  AbortMessage message;
  // Any id: live, waiting, ended, refused, a companion's, or not yet known.
  for (int64_t i = random_.between(1, 3); i > 0; --i) {
    Client* open = random_.chance(0.7) ? any_open_client() : nullptr;
    const auto known = static_cast<int64_t>(client_of_.size());
    message.keys.push_back(open ? open->key
                                : RequestKey(static_cast<uint64_t>(random_.between(1, known))));
    log("abort r{}", message.keys.back().value);
    aborted_.insert(message.keys.back());
  }
  if (random_.chance(0.5)) {
    message.ticket = next_ticket_++;
    Call& call = calls_[message.ticket];
    for (const RequestKey key : message.keys) {
      if (find_client(key)) call.keys.push_back(key);
    }
  }
  mailbox_.push_back(std::move(message));
}

void SimWorld::ask_rpc() {
  if (shutting_down_) return;
  RpcMessage message;
  message.ticket = next_ticket_++;
  message.method = random_.chance(0.8) ? "ping" : "fly";
  if (random_.chance(0.5)) {
    message.stage_ids.push_back(static_cast<int32_t>(random_.below(graph_->size() + 1)));
  }
  if (random_.chance(0.5)) {
    message.deadline = clock_.now() + std::chrono::milliseconds(random_.below(20));
  }
  log("rpc {}", message.ticket);
  calls_[message.ticket] = {.keys = {}, .deadline = message.deadline};
  mailbox_.push_back(std::move(message));
}

void SimWorld::ask_replica() {
  if (shutting_down_) return;
  ReplicaMessage message;
  message.ticket = next_ticket_++;
  message.stage_id = static_cast<int32_t>(random_.below(graph_->size()));
  const StagePool& pool = *pools_[message.stage_id];
  if (random_.chance(0.5) || pool.active_replicas() > 4) {
    message.remove = static_cast<int32_t>(random_.below(pool.size() + 1));
    removals_ = true;
  }
  log("{} a replica of stage {}", message.remove ? "remove" : "add", message.stage_id);
  calls_[message.ticket] = {};
  mailbox_.push_back(std::move(message));
}

void SimWorld::deliver_one() {
  if (mailbox_.empty()) return;
  OrchestratorMessage message = std::move(mailbox_.front());
  mailbox_.pop_front();
  orchestrator_->handle(std::move(message));
}

void SimWorld::tick() {
  const auto due = orchestrator_->next_timer();
  if (!due || *due > clock_.now()) return;
  orchestrator_->handle(TimerMessage{});
  const auto next = orchestrator_->next_timer();
  if (next && *next <= clock_.now()) violation("a timer does not go away");
}

void SimWorld::replica_loads(SimStageClient& replica) {
  if (replica.first_life() || !random_.chance(0.2)) return replica.load();
  kill_replica(replica);
}

void SimWorld::kill_replica(SimStageClient& replica) {
  if (replica.over() || (replica.loading() && replica.first_life())) return;
  log("replica {}-{} dies", replica.stage().value, replica.replica().value);
  ++stats_.deaths;
  replica.die(internal_error("The simulator killed it."));
}

void SimWorld::forget_ended_replicas() {
  std::erase_if(replicas_, [](const SimStageClient* replica) { return replica->over(); });
  ended_replicas_.clear();
}

void SimWorld::shut_down() {
  log("shutdown");
  shutting_down_ = true;
  requests_->close();
  mailbox_.push_back(ShutdownMessage{});
}

void SimWorld::settle() {
  // No more arrivals: whatever is under way must come to its end by itself.
  if (!shutting_down_ && random_.chance(0.2)) shut_down();
  for (const RequestKey key : open_) {
    Client& client = *find_client(key);
    if (!client.ended && !client.input_complete) update(client, true);
  }
  while (violation_.empty() && (settle_round() || pass_time())) {
    ++stats_.events;
    check();
  }
}

bool SimWorld::settle_round() {
  forget_ended_replicas();
  tick();
  bool busy = !mailbox_.empty() || outputs_->size() > 0 || answers_->size() > 0;
  for (int i = 0; i < 4; ++i) deliver_one();
  for (SimStageClient* replica : std::vector<SimStageClient*>(replicas_)) {
    busy |= replica->loading() || replica->has_commands() || replica->runnable();
    if (replica->loading()) replica->load();
    replica->take(random_.between(1, 4));
    if (replica->runnable()) replica->step();
  }
  read(4);
  read_answers(1);
  return busy;
}

bool SimWorld::pass_time() {
  // Everybody has done all there was to do: only time can bring more.
  for (const RequestKey key : open_) {
    const RequestProgress* progress = orchestrator_->find(key);
    if (progress && progress->open_acks > 0) {
      violation(find_client(key)->id + " waits for a stage that has nothing to do");
    }
  }
  const auto timer = orchestrator_->next_timer();
  if (!timer) return false;
  clock_.advance(std::max(*timer - clock_.now(), Duration()));
  return true;
}

}  // namespace tutti::sim
