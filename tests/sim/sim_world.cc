#include "sim/sim_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace tutti::sim {

// A replica without a thread: the world decides when it takes commands and when it steps.
class SimStageClient final : public StageClient {
 public:
  SimStageClient(StageId stage, ReplicaId replica, std::shared_ptr<const StageGraph> graph,
                 fake::FakeOptions options, size_t capacity, StageEventSink sink)
      : stage_(stage), replica_(replica), sink_(std::move(sink)), mailbox_(capacity) {
    const bool entry = graph->spec(stage.value).sources.empty();
    core_ = std::make_unique<ReplicaCore>(
        stage, std::move(graph),
        std::make_unique<fake::FakeStageEngine>(stage.value, entry, std::move(options)));
    mailbox_.on_room([this] { post(RoomEvent{}); });
  }

  bool try_send(StageCommand& command) override {
    return mailbox_.try_push(std::move(command)) != QueueResult::kFull;
  }
  EngineStats stats() const override { return core_ ? core_->stats() : EngineStats{}; }
  void stop() override { mailbox_.close(); }
  bool join(Deadline) override { return true; }

  bool dead() const { return !core_; }
  bool has_commands() const { return mailbox_.size() > 0; }
  bool runnable() const { return core_ && core_->has_runnable_work(); }
  size_t queued() const { return mailbox_.size(); }

  void take(int64_t count) {
    std::vector<StageOutput> outputs;
    for (; core_ && count > 0; --count) {
      auto command = mailbox_.try_pop();
      if (!command) break;
      core_->apply(std::move(*command), outputs);
    }
    if (!outputs.empty()) post(OutputsEvent{std::move(outputs)});
  }
  void step() {
    std::vector<StageOutput> outputs;
    const Status status = core_->step(outputs);
    if (!outputs.empty()) post(OutputsEvent{std::move(outputs)});
    if (!status.ok()) die(status);
  }
  void die(const Status& cause) {
    core_.reset();
    mailbox_.close();
    while (mailbox_.try_pop()) {
    }
    post(DiedEvent{cause});
  }
  StageId stage() const { return stage_; }
  ReplicaId replica() const { return replica_; }

 private:
  void post(auto body) { sink_({stage_, replica_, std::move(body)}); }

  const StageId stage_;
  const ReplicaId replica_;
  StageEventSink sink_;
  std::unique_ptr<ReplicaCore> core_;
  DualQueue<StageCommand> mailbox_;
};

SimWorld::SimWorld(uint64_t seed, bool trace) : random_(seed), trace_(trace) {
  async_chunk_ = random_.chance(0.7);
  max_live_ = random_.between(1, 24);
  target_requests_ = random_.between(20, 80);
  // Most worlds are calm in most respects, so that every mix of troubles occurs.
  death_chance_ = random_.chance(0.4) ? 0.002 : 0;
  fault_chance_ = random_.chance(0.5) ? 0.2 : 0;
  abort_chance_ = random_.chance(0.5) ? 0.05 : 0;
  read_chance_ = random_.chance(0.3) ? 0.02 : 0.25;
  build_graph();
  requests_ = std::make_unique<RequestQueue>(random_.between(1, 16));
  outputs_ = std::make_unique<OutputQueue>(random_.chance(0.3) ? 1 : random_.between(2, 64));
  requests_->on_ready([this] { mailbox_.push_back(RequestsReadyMessage{}); });
  outputs_->on_room([this] { mailbox_.push_back(OutputRoomMessage{}); });
  build_pools();
  orchestrator_ = std::make_unique<Orchestrator>(
      graph_, pools_, OrchestratorQueues{*requests_, *outputs_, rpc_outputs_}, clock_,
      OrchestratorOptions{.async_chunk = async_chunk_,
                          .max_live_requests = max_live_,
                          .epoch = clock_.now(),
                          .on_replica_state = {}});
}

SimWorld::~SimWorld() = default;

template <typename... Args>
void SimWorld::log(const char* format, Args... args) {
  if (trace_) {
    std::fprintf(stderr, "%6lld  %s\n", static_cast<long long>(stats_.events),
                 fmt::format(fmt::runtime(format), args...).c_str());
  }
}

void SimWorld::violation(const std::string& what) {
  if (violation_.empty()) violation_ = fmt::format("event {}: {}", stats_.events, what);
}

void SimWorld::build_graph() {
  std::vector<StageSpec> specs;
  switch (random_.below(4)) {
    case 0:
      specs = {fake::fake_spec("alone", {}, "text")};
      break;
    case 1:  // two branches that meet again
      specs = {fake::fake_spec("split", {}, "text"), fake::fake_spec("left", {0}, "text"),
               fake::fake_spec("right", {0}), fake::fake_spec("meet", {1, 2}, "audio")};
      break;
    default:
      specs = fake::omni_specs();
  }
  graph_ = std::make_shared<const StageGraph>(StageGraph::build(std::move(specs)).value());
}

void SimWorld::build_pools() {
  const auto sink = [this](StageEvent event) { mailbox_.push_back(std::move(event)); };
  for (int32_t s = 0; s < graph_->size(); ++s) {
    std::vector<std::unique_ptr<StageClient>> clients;
    const int64_t count = random_.between(1, 3);
    for (int32_t r = 0; r < count; ++r) {
      fake::FakeOptions options;
      options.tokens_per_step = random_.between(1, 3);
      options.max_num_seqs = random_.between(1, 6);
      options.fault = [this](RequestKey key, int32_t stage) {
        const Client& client = clients_.at(key.value);
        return client.fault_stage == stage ? client.fault : fake::Fault::kNone;
      };
      options.on_admit = [this](const StageRequest& request, int32_t stage) {
        const auto needed = graph_->needed_for(clients_.at(request.key.value).wanted);
        if (!needed[stage])
          violation(fmt::format("{} ran in a stage nobody asked for", request.request_id));
      };
      auto client = std::make_unique<SimStageClient>(StageId(s), ReplicaId(r), graph_, options,
                                                     random_.between(1, 8), sink);
      replicas_.push_back(client.get());
      clients.push_back(std::move(client));
    }
    pools_.push_back(std::make_unique<StagePool>(std::move(clients)));
  }
  for (SimStageClient* client : replicas_) {
    mailbox_.push_back(StageEvent{client->stage(), client->replica(), ReadyEvent{}});
  }
}

std::string SimWorld::run() {
  constexpr int64_t kMaxEvents = 200000;
  while (stats_.requests < target_requests_ && !shutting_down_ && violation_.empty()) {
    one_event();
    check();
    if (stats_.events > kMaxEvents) violation("the world does not come to an end");
  }
  if (violation_.empty()) settle();
  if (violation_.empty()) check_end();
  return violation_;
}

SimStageClient& SimWorld::any_replica() {
  return *replicas_[random_.below(static_cast<int64_t>(replicas_.size()))];
}

void SimWorld::one_event() {
  ++stats_.events;
  clock_.advance(std::chrono::microseconds(random_.below(1000)));
  if (random_.chance(death_chance_)) return kill_replica(any_replica());
  if (random_.chance(abort_chance_)) return ask_abort();
  if (random_.chance(0.0002)) return shut_down();
  if (random_.chance(read_chance_)) return read(random_.between(1, 8));
  switch (random_.below(8)) {
    case 0:
      return arrive();
    case 1:
    case 2:
    case 3:
      return deliver_one();
    case 4:
    case 5:
      return replica_takes(any_replica());
    default:
      return replica_steps(any_replica());
  }
}

void SimWorld::arrive() {
  auto request = std::make_unique<AcceptedRequest>();
  const uint64_t key = next_key_++;
  Client client;
  client.id = fmt::format("r{}", key);
  client.tokens = random_.chance(0.1) ? 0 : random_.between(1, 20);
  for (int32_t s : graph_->final_stages()) {
    if (random_.chance(0.6)) client.wanted.push_back(s);
  }
  if (client.wanted.empty()) client.wanted = graph_->final_stages();
  if (random_.chance(fault_chance_)) {
    client.fault = static_cast<fake::Fault>(random_.between(1, 4));
    client.fault_stage = static_cast<int32_t>(random_.below(graph_->size()));
  }
  request->key = RequestKey(key);
  request->request_id = client.id;
  request->segment.sampling_params.resize(graph_->size());
  for (auto& params : request->segment.sampling_params) params.max_tokens = client.tokens;
  request->segment.seeds.resize(graph_->size());
  request->final_output_stage_ids = client.wanted;
  if (requests_->try_push(std::move(request)) != QueueResult::kOk) {
    ++stats_.refused;
    return;
  }
  log("arrives {} with {} tokens", client.id, client.tokens);
  ++stats_.requests;
  key_of_[client.id] = key;
  clients_.emplace(key, std::move(client));
}

void SimWorld::ask_abort() {
  if (next_key_ == 1) return;
  // Any id: live, waiting, ended, refused, or not yet known.
  const uint64_t key = static_cast<uint64_t>(random_.between(1, static_cast<int64_t>(next_key_)));
  log("abort r{}", key);
  aborts_.insert(key);
  mailbox_.push_back(AbortMessage{{RequestKey(key)}});
}

void SimWorld::deliver_one() {
  if (mailbox_.empty()) return;
  OrchestratorMessage message = std::move(mailbox_.front());
  mailbox_.pop_front();
  orchestrator_->handle(std::move(message));
}

void SimWorld::replica_takes(SimStageClient& client) {
  if (!client.dead()) client.take(random_.between(1, 4));
}

void SimWorld::replica_steps(SimStageClient& client) {
  if (client.runnable()) client.step();
}

void SimWorld::kill_replica(SimStageClient& client) {
  if (client.dead()) return;
  log("replica {}-{} dies", client.stage().value, client.replica().value);
  client.die(internal_error("The simulator killed it."));
}

void SimWorld::read(int64_t count) {
  for (; count > 0; --count) {
    auto message = outputs_->try_pop();
    if (!message) return;
    take_message(std::move(*message));
  }
}

void SimWorld::take_message(EngineMessage message) {
  const std::string id = std::visit([](auto& m) { return m.request_id; }, message);
  const auto found = key_of_.find(id);
  if (found == key_of_.end()) return violation(fmt::format("a message for unknown '{}'", id));
  Client& client = clients_.at(found->second);
  if (client.ended) return violation(id + " got a message after its terminal one");
  if (const auto* error = std::get_if<ErrorMessage>(&message)) {
    if (error->error.ok()) violation(id + " failed without an error");
    const bool expected = client.fault != fake::Fault::kNone || death_chance_ > 0;
    if (!expected) violation(fmt::format("{} failed for nothing: {}", id, error->error.message()));
    ++stats_.failed;
    end(client, "error");
  } else if (const auto* output = std::get_if<OutputMessage>(&message)) {
    take_output(client, *output);
  } else if (const auto& m = std::get<StageMetricsMessage>(message);
             std::exchange(client.stage_ended[m.stage_id], true)) {
    violation(fmt::format("{} ended twice in stage {}", id, m.stage_id));
  }
}

void SimWorld::take_output(Client& client, const OutputMessage& message) {
  const int32_t stage = message.stage_id;
  if (!std::count(client.wanted.begin(), client.wanted.end(), stage)) {
    return violation(fmt::format("{} got output of stage {}, not asked for", client.id, stage));
  }
  if (client.stage_ended[stage] && message.output.finish_reason != FinishReason::kAbort) {
    return violation(fmt::format("{} got output of stage {} after its end", client.id, stage));
  }
  auto& tokens = client.received[stage];
  tokens.insert(tokens.end(), message.output.token_ids.begin(), message.output.token_ids.end());
  client.text[stage] += message.output.text;
  if (message.output.finish_reason != FinishReason::kNone) client.stage_ended[stage] = true;
  if (!message.finished) return;
  if (message.output.finish_reason == FinishReason::kAbort) {
    if (!aborts_.contains(key_of_.at(client.id)) && !shutting_down_)
      violation(client.id + " was aborted for nothing");
    ++stats_.aborted;
    return end(client, "aborted");
  }
  for (int32_t s : client.wanted) {
    if (!client.stage_ended[s]) violation(fmt::format("{} finished before stage {}", client.id, s));
  }
  if (client.fault_stage >= 0 && client.fault != fake::Fault::kAppendThrow &&
      graph_->needed_for(client.wanted)[client.fault_stage]) {
    violation(client.id + " finished in spite of its fault");
  }
  check_content(client);
  ++stats_.finished;
  end(client, "finished");
}

void SimWorld::end(Client& client, const std::string& how) {
  log("{} {}", client.id, how);
  client.ended = true;
}

void SimWorld::check_content(const Client& client) {
  const uint64_t key = key_of_.at(client.id);
  for (int32_t s : client.wanted) {
    auto expected = fake::expected_tokens(*graph_, s, RequestKey(key), client.tokens);
    const auto found = client.received.find(s);
    auto got = found == client.received.end() ? std::vector<int32_t>{} : found->second;
    if (const auto text = client.text.find(s); text != client.text.end()) {
      for (size_t i = 0; i < text->second.size(); ++i) {
        if (i >= got.size() || text->second[i] != 'a' + got[i] % 26) {
          return violation(fmt::format("{} has mixed text and tokens in stage {}", client.id, s));
        }
      }
    }
    // Only the order within one source is promised.
    if (graph_->spec(s).sources.size() > 1) {
      std::sort(expected.begin(), expected.end());
      std::sort(got.begin(), got.end());
    }
    if (got != expected) {
      violation(fmt::format("{} has other tokens than its own in stage {}: {} of {}", client.id, s,
                            got.size(), expected.size()));
    }
  }
}

void SimWorld::shut_down() {
  log("shutdown");
  shutting_down_ = true;
  requests_->close();
  mailbox_.push_back(ShutdownMessage{});
}

void SimWorld::settle() {
  // No more arrivals: whatever is under way must come to its end by itself.
  if (!shutting_down_ && random_.chance(0.3)) shut_down();
  for (bool busy = true; busy && violation_.empty();) {
    busy = !mailbox_.empty() || outputs_->size() > 0;
    deliver_one();
    for (SimStageClient* client : replicas_) {
      busy |= client->has_commands() || client->runnable();
      replica_takes(*client);
      replica_steps(*client);
    }
    read(2);
    ++stats_.events;
    check();
  }
}

void SimWorld::check() {
  if (!shutting_down_ && outputs_->size() > outputs_->capacity()) {
    violation("the output queue is over its capacity");
  }
  if (static_cast<int64_t>(orchestrator_->live_requests()) > max_live_) {
    violation("too many live requests");
  }
  const auto per_request = static_cast<size_t>(2 * graph_->size() + 1);
  if (orchestrator_->waiting_outputs() > clients_.size() * per_request) {
    violation("waiting outputs are not merged");
  }
  check_bindings();
}

void SimWorld::check_bindings() {
  std::map<std::pair<int32_t, int32_t>, int64_t> bound;
  size_t live = 0;
  for (const auto& [key, client] : clients_) {
    const RequestProgress* progress = orchestrator_->find(RequestKey(key));
    if (!progress) continue;
    ++live;
    if (client.ended) violation(client.id + " lives after its terminal message");
    for (int32_t s = 0; s < graph_->size(); ++s) {
      const StageProgress& at = progress->stages[s];
      if (at.state == StageProgress::State::kRunning) ++bound[{s, at.replica.value}];
    }
  }
  if (live != orchestrator_->live_requests()) violation("an unknown request lives");
  for (int32_t s = 0; s < graph_->size(); ++s) {
    for (int32_t r = 0; r < pools_[s]->size(); ++r) {
      if (pools_[s]->replica(ReplicaId(r)).outstanding() != bound[{s, r}]) {
        violation(fmt::format("replica {}-{} counts {} requests, bound are {}", s, r,
                              pools_[s]->replica(ReplicaId(r)).outstanding(), bound[{s, r}]));
      }
    }
  }
}

void SimWorld::check_end() {
  for (const auto& [key, client] : clients_) {
    if (!client.ended) violation(client.id + " never got a terminal message");
  }
  if (orchestrator_->live_requests() != 0) violation("requests live after the end");
  if (orchestrator_->waiting_outputs() != 0) violation("outputs wait after the end");
  // After a shutdown the replicas end with all they hold.
  if (shutting_down_) return;
  for (SimStageClient* client : replicas_) {
    if (client->dead()) continue;
    if (client->stats().running != 0) {
      violation(fmt::format("replica {}-{} keeps {} sequences", client->stage().value,
                            client->replica().value, client->stats().running));
    }
    if (pools_[client->stage().value]->replica(client->replica()).waiting_commands() != 0) {
      violation("commands wait after the end");
    }
  }
}

}  // namespace tutti::sim
