#include "sim/sim_world.h"

#include <fmt/format.h>

namespace tutti::sim {

void SimStats::add(const SimStats& other) {
  requests += other.requests;
  finished += other.finished;
  aborted += other.aborted;
  failed += other.failed;
  refused += other.refused;
  events += other.events;
  retries += other.retries;
  deaths += other.deaths;
  updates += other.updates;
  overdue += other.overdue;
  early += other.early;
  calls += other.calls;
}

SimWorld::SimWorld(uint64_t seed, bool trace, Bug bug)
    : random_(seed), trace_(trace), bug_(bug), bug_left_(random_.between(5, 60)) {
  const auto sometimes = [&](double p, double chance) { return random_.chance(p) ? chance : 0; };
  // Restarts are rarer than what the others strike at.
  if (bug_ == Bug::kMissedRestart) bug_left_ %= 3;
  chances_ = {.death = sometimes(0.4, 0.002),
              .fault = sometimes(0.5, 0.1),
              .abort = sometimes(0.5, 0.02),
              .read = random_.chance(0.3) ? 0.03 : 0.25,
              .update = sometimes(0.5, 0.05),
              .resumable = sometimes(0.5, 0.2),
              .deadline = sometimes(0.3, 0.2),
              .companion = sometimes(0.3, 0.2),
              .rank = sometimes(0.3, 0.1),
              .call = sometimes(0.4, 0.005),
              .replica = sometimes(0.3, 0.003),
              .shutdown = sometimes(0.2, 0.0002),
              .pause = sometimes(0.3, 0.001),
              .early_end = sometimes(0.3, 0.3)};
  options_.async_chunk = random_.chance(0.7);
  options_.max_live_requests = random_.between(1, 24);
  options_.max_retries = static_cast<int32_t>(random_.below(3));
  options_.max_pending_updates = static_cast<int32_t>(random_.between(2, 6));
  options_.replica_wait = from_seconds(random_.chance(0.5) ? 0.05 : 10);
  options_.epoch = clock_.now();
  sample_rate_ = random_.chance(0.3) ? 1000 : 0;
  if (sample_rate_ > 0 && random_.chance(0.5)) options_.max_audio_s = 0.004;
  options_.on_retry = [this](RequestKey key) {
    ++find_client(key)->retries;
    ++stats_.retries;
  };
  options_.on_message = [this](RequestKey key, const EngineMessage& message) {
    find_client(key)->emitted |= std::holds_alternative<OutputMessage>(message);
  };
  target_requests_ = random_.between(500, 900);
  max_tokens_ = random_.chance(0.1) ? 20 : 5;
  build_graph();
  build_queues();
  build_pools();
  orchestrator_ = std::make_unique<Orchestrator>(
      graph_, pools_, OrchestratorQueues{*requests_, *outputs_, *answers_}, clock_, options_);
}

SimWorld::~SimWorld() = default;

void SimWorld::violation(const std::string& what) {
  if (violation_.empty()) violation_ = fmt::format("event {}: {}", stats_.events, what);
}

bool SimWorld::strikes(Bug bug) { return bug_ == bug && bug_left_-- == 0; }

void SimWorld::build_graph() {
  std::vector<StageSpec> specs;
  switch (random_.below(5)) {
    case 0:
      specs = {fake::fake_spec("alone", {}, "text")};
      break;
    case 1:  // two branches that meet again
      specs = {fake::fake_spec("split", {}, "text"), fake::fake_spec("left", {0}, "text"),
               fake::fake_spec("right", {0}), fake::fake_spec("meet", {1, 2}, "audio")};
      break;
    case 2:  // two sources
      specs = {fake::fake_spec("ear", {}, "text"), fake::fake_spec("eye", {}),
               fake::fake_spec("mouth", {0, 1}, "audio")};
      break;
    default:
      specs = fake::omni_specs();
  }
  graph_ = std::make_shared<const StageGraph>(StageGraph::build(std::move(specs)).value());
}

void SimWorld::build_queues() {
  requests_ = std::make_unique<RequestQueue>(random_.between(1, 16));
  outputs_ = std::make_unique<OutputQueue>(random_.chance(0.3) ? 1 : random_.between(2, 64));
  answers_ = std::make_unique<RpcOutputQueue>(random_.between(1, 4));
  requests_->on_ready([this] { mailbox_.push_back(RequestsReadyMessage{}); });
  outputs_->on_room([this] { mailbox_.push_back(OutputRoomMessage{}); });
  answers_->on_room([this] { mailbox_.push_back(OutputRoomMessage{}); });
}

fake::FakeOptions SimWorld::engine_options() {
  fake::FakeOptions options;
  options.tokens_per_step = random_.between(1, 3);
  options.max_num_seqs = random_.between(1, 6);
  options.sample_rate = sample_rate_;
  options.fault = [this](RequestKey key, int32_t stage) {
    const Client& client = *find_client(key);
    return client.fault_stage == stage ? client.fault : fake::Fault::kNone;
  };
  options.on_admit = [this](const StageRequest& request, int32_t stage) {
    check_admission(request, stage);
  };
  options.ends_early = [this](RequestKey key, int32_t stage, int32_t segment) {
    const Client& client = *find_client(key);
    return client.key == key && client.early_stage == stage && segment >= client.early_segment;
  };
  options.on_companions = [this](RequestKey key, int32_t stage, const std::vector<int32_t>& got) {
    check_companions(key, stage, got);
  };
  return options;
}

std::unique_ptr<StageClient> SimWorld::make_replica(int32_t stage, ReplicaId replica,
                                                    uint32_t incarnation) {
  SimStageClient::Setup setup{
      .stage = StageId(stage),
      .replica = replica,
      .incarnation = incarnation,
      .graph = graph_,
      .engine = engine_options(),
      .mailbox_capacity = static_cast<size_t>(random_.between(1, 8)),
      .sink = [this](StageEvent event) { mailbox_.push_back(std::move(event)); },
      .strikes = [this](Bug bug) { return strikes(bug); }};
  auto client = std::make_unique<SimStageClient>(std::move(setup));
  const bool forgotten = incarnation > 0 && strikes(Bug::kMissedRestart);
  if (!forgotten) replicas_.push_back(client.get());
  return client;
}

void SimWorld::build_pools() {
  for (int32_t s = 0; s < graph_->size(); ++s) {
    PoolOptions options;
    options.router = static_cast<RouterPolicy>(random_.below(3));
    options.min_backoff = std::chrono::milliseconds(random_.between(1, 100));
    options.max_backoff = std::chrono::seconds(1);
    options.dispose = [this](std::shared_ptr<StageClient> client) {
      ended_replicas_.push_back(std::move(client));
    };
    pools_.push_back(std::make_unique<StagePool>(
        [this, s](ReplicaId replica, uint32_t incarnation) {
          return make_replica(s, replica, incarnation);
        },
        // One that never comes back must not be all there is.
        static_cast<int32_t>(random_.between(bug_ == Bug::kMissedRestart ? 2 : 1, 3)), options));
  }
  // The initial start is over: a death in it would have ended the engine.
  for (SimStageClient* replica : replicas_) replica->load();
}

std::string SimWorld::run() {
  constexpr int64_t kMaxEvents = 2'000'000;
  while (stats_.requests < target_requests_ && !shutting_down_ && violation_.empty()) {
    one_event();
    check();
    if (stats_.events > kMaxEvents) violation("the world does not come to an end");
  }
  if (violation_.empty()) settle();
  if (violation_.empty()) check_end();
  return violation_;
}

}  // namespace tutti::sim
