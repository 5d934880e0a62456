#include "orchestrator/async_omni_engine_impl.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"

namespace tutti {
namespace {

constexpr size_t kMailboxCapacity = 4096;
constexpr double kShutdownTimeout_s = 10;
constexpr double kLoraTimeout_s = 60;

std::vector<std::string> tasks_of(const StageGraph& graph) {
  std::vector<std::string> tasks;
  for (int32_t s = 0; s < graph.size() && tasks.empty(); ++s) {
    const StageSpec& spec = graph.spec(s);
    if (spec.sources.empty() && spec.type == StageType::kLlm) tasks.emplace_back("generate");
  }
  const auto has_output = [&](std::string_view type) {
    const auto& stages = graph.final_stages();
    return std::any_of(stages.begin(), stages.end(),
                       [&](int32_t s) { return graph.spec(s).final_output_type == type; });
  };
  if (has_output("audio")) tasks.emplace_back("speech");
  if (has_output("image")) tasks.emplace_back("image");
  return tasks;
}

// The most requests of a step of a diffusion stage.
int32_t diffusion_batch(const StageGraph& graph, const EngineOptions& options) {
  int32_t most = 1;
  for (int32_t s = 0; s < graph.size(); ++s) {
    if (graph.spec(s).type != StageType::kDiffusion) continue;
    const auto stage = static_cast<size_t>(s);
    const bool own = stage < options.stages.size() && options.stages[stage].max_num_seqs;
    most = std::max(most, own ? *options.stages[stage].max_num_seqs : options.max_num_seqs);
  }
  return most;
}

// Enough to keep every stage's batch full while others wait for their turn, and a bound on memory.
int64_t live_limit(const EngineOptions& options) {
  if (options.max_live_requests > 0) return options.max_live_requests;
  return std::max<int64_t>(16, 4 * int64_t{options.max_num_seqs});
}

// Unread are at most what the queues and the places hold when requests end by themselves; aborted
// and overdue ones leave the request queue beside that.
LiveRequests::Limits limits_of(const EngineOptions& options) {
  const auto live = static_cast<size_t>(live_limit(options));
  const auto queues = static_cast<size_t>(options.output_queue_size + options.request_queue_size);
  const auto sessions = static_cast<size_t>(std::max(options.max_sessions, 0));
  return {.unread = queues + 2 * live, .sessions = sessions > 0 ? sessions : 4 * live};
}

ReplicaInfo replica_info(const StageReplica& replica, int32_t id) {
  const EngineStats stats = replica.stats();
  return {.replica_id = id,
          .state = std::string(replica_state_name(replica.state())),
          .outstanding = replica.outstanding(),
          .steps = stats.steps,
          .busy_s = stats.busy_s,
          .waiting = stats.waiting,
          .running = stats.running,
          .blocked = stats.blocked,
          .kv_blocks_total = stats.kv_blocks_total,
          .kv_blocks_used = stats.kv_blocks_used,
          .preemptions = stats.preemptions,
          .prefix_query_tokens = stats.prefix_query_tokens,
          .prefix_hit_tokens = stats.prefix_hit_tokens};
}

template <typename Queue>
QueueInfo queue_info(const char* name, const Queue& queue) {
  return {.name = name,
          .size = static_cast<int64_t>(queue.size()),
          .capacity = static_cast<int64_t>(queue.capacity()),
          .high_water = static_cast<int64_t>(queue.high_water())};
}

}  // namespace

bool runs_one_stage(const EngineParts& parts) {
  const auto here = std::count_if(parts.stages.begin(), parts.stages.end(),
                                  [](const StageParts& stage) { return !stage.worker; });
  return parts.stages.size() > 1 && here == 1;
}

AsyncOmniEngineImpl::AsyncOmniEngineImpl(EngineParts parts, const EngineOptions& options,
                                         std::shared_ptr<const StageGraph> graph,
                                         std::vector<SamplingParams> default_sampling_params)
    : parts_(std::move(parts)),
      graph_(std::move(graph)),
      default_sampling_params_(std::move(default_sampling_params)),
      async_chunk_(options.async_chunk),
      max_live_requests_(live_limit(options)),
      diffusion_batch_size_(diffusion_batch(*graph_, options)),
      single_stage_mode_(runs_one_stage(parts_)),
      supported_tasks_(tasks_of(*graph_)),
      max_prompt_tokens_(std::make_shared<std::vector<std::atomic<int64_t>>>(parts_.stages.size())),
      requests_(static_cast<size_t>(options.request_queue_size)),
      outputs_(static_cast<size_t>(options.output_queue_size)),
      mailbox_(std::make_shared<OrchestratorMailbox>(kMailboxCapacity)),
      live_(limits_of(options)),
      waiters_(outputs_, workers_, [this](const EngineMessage& message) { live_.seen(message); }),
      loras_([this](const std::string& method, const std::string& kwargs_json) {
        return collective_rpc(method, kLoraTimeout_s, {}, kwargs_json, {});
      }) {
  requests_.on_room([this] { intake_->room(); });
  outputs_.on_ready([this] { waiters_.ready(); });
  rpc_outputs_.on_ready([this] { calls_.take(rpc_outputs_); });
  for (int32_t s = 0; s < graph_->size(); ++s) stage_metadata_.push_back(graph_->runtime_info(s));
}

AsyncOmniEngineImpl::~AsyncOmniEngineImpl() {
  shutdown();
  // What was promised to callers is said before anything goes that it needs.
  workers_.stop();
}

void AsyncOmniEngineImpl::start_pools(const std::shared_ptr<InitMonitor>& monitor,
                                      double stage_init_timeout_s) {
  for (int32_t s = 0; s < graph_->size(); ++s) {
    const StageParts& stage = parts_.stages[s];
    // Whatever the engine borrows is owned by the loader, which lives as long as the engine.
    const ReportProgress report = [monitor, s](double fraction, const std::string& what) {
      return monitor->progress(s, fraction, what);
    };
    const StageEngineFactory factory =
        [report, s, load = stage.load,
         limits = max_prompt_tokens_]() -> Result<std::unique_ptr<StageEngine>> {
      TUTTI_ASSIGN_OR_RETURN(LoadedStage loaded, load(report));
      (*limits)[s] = loaded.max_prompt_tokens;
      return std::move(loaded.engine);
    };
    std::optional<ProcessOptions> worker = stage.worker;
    if (worker) {
      worker->on_progress = report;
      // At the start the monitor, which knows more, gives up first.
      worker->load_timeout_s = stage_init_timeout_s + 1;
      worker->on_loaded = [limits = max_prompt_tokens_, s](const WorkerLoaded& loaded) {
        (*limits)[s] = loaded.max_prompt_tokens;
      };
    }
    const ReplicaFactory make_replica = [this, s, factory, worker](
                                            ReplicaId replica,
                                            uint32_t incarnation) -> std::unique_ptr<StageClient> {
      const StageEventSink sink = [mailbox = mailbox_, incarnation](StageEvent event) {
        event.incarnation = incarnation;
        mailbox->push(std::move(event), Deadline::never());
      };
      if (worker) {
        return std::make_unique<ProcessStageClient>(StageId(s), replica, sink, *worker);
      }
      return std::make_unique<InProcStageClient>(StageId(s), replica, graph_, factory, sink,
                                                 parts_.replica_options);
    };
    PoolOptions pool_options;
    pool_options.router = stage.router;
    pool_options.dispose = [this](std::shared_ptr<StageClient> client) {
      reaper_.take(std::move(client));
    };
    pools_.push_back(std::make_unique<StagePool>(make_replica, stage.num_replicas, pool_options));
  }
}

Status AsyncOmniEngineImpl::start(const EngineOptions& options) {
  TUTTI_ASSIGN_OR_RETURN(
      timeline_,
      Timeline::create(graph_,
                       {.model = parts_.model,
                        .epoch = parts_.epoch,
                        .trace_out = options.trace_out,
                        .trace_events = static_cast<size_t>(std::max(options.trace_events, 1)),
                        .otlp_endpoint = options.otlp_endpoint}));
  std::vector<int32_t> replicas;
  for (const StageParts& stage : parts_.stages) replicas.push_back(stage.num_replicas);
  const auto monitor = std::make_shared<InitMonitor>(graph_, replicas, options.on_progress);
  start_pools(monitor, options.stage_init_timeout_s);
  orchestrator_ = std::make_unique<OrchestratorThread>(
      graph_, pools_, OrchestratorQueues{requests_, outputs_, rpc_outputs_}, mailbox_,
      OrchestratorOptions{
          .async_chunk = async_chunk_,
          .max_live_requests = max_live_requests_,
          .epoch = parts_.epoch,
          .replica_wait = from_seconds(options.replica_wait_s),
          .max_retries = options.max_retries,
          .max_pending_updates = options.max_pending_updates,
          .max_audio_s = options.max_audio_s,
          .max_loras = static_cast<size_t>(std::max(options.max_loras, 0)),
          .on_replica_state =
              [monitor](StageId stage, ReplicaId, ReplicaState state, const Status& cause) {
                monitor->on_replica_state(stage, state, cause);
              },
          .on_retry = [this](RequestKey key) { timeline_->on_retry(key); },
          .on_message =
              [this](RequestKey key, const EngineMessage& message) {
                timeline_->on_message(key, message);
                live_.emitted(message);
              }});
  orchestrator_->start();
  const Status status = monitor->wait(options.stage_init_timeout_s, options.init_timeout_s);
  if (!status.ok()) {
    shutdown();
    return status;
  }
  start_intake(options);
  return {};
}

void AsyncOmniEngineImpl::start_intake(const EngineOptions& options) {
  RequestLimits limits{.max_prompt_tokens = 0,
                       .max_tokens_per_request = options.max_tokens_per_request,
                       .request_timeout_s = options.request_timeout_s,
                       .epoch = parts_.epoch,
                       .replicas = [this](int32_t stage) { return replica_ids(stage); }};
  for (int32_t s = 0; s < graph_->size(); ++s) {
    const int64_t most = (*max_prompt_tokens_)[s];
    if (!graph_->spec(s).sources.empty() || most == 0) continue;
    int64_t& limit = limits.max_prompt_tokens;
    limit = limit == 0 ? most : std::min(limit, most);
  }
  processor_ = std::make_unique<RequestProcessor>(parts_.pipeline, graph_, default_sampling_params_,
                                                  std::move(limits));
  RequestIntake::Hooks hooks{
      .post = [this](UpdateMessage update) { return post(std::move(update)); },
      .abort = [this](RequestKey key) { post(AbortMessage{{key}}); },
      .accepted = [this](const AcceptedRequest& request) { timeline_->accepted(request); },
      .not_accepted = [this](RequestKey key) { timeline_->not_accepted(key); },
      .updated = [this](RequestKey key,
                        const std::string& text) { timeline_->updated(key, text); }};
  intake_ = std::make_unique<RequestIntake>(*processor_, loras_, live_, requests_, workers_,
                                            options.max_pending_updates, std::move(hooks));
}

bool AsyncOmniEngineImpl::post(OrchestratorMessage message) {
  if (!orchestrator_->running()) return false;
  orchestrator_->post(std::move(message));
  return true;
}

std::thread::native_handle_type AsyncOmniEngineImpl::orchestrator_thread() const {
  return orchestrator_->native_handle();
}

std::vector<StagePoolInfo> AsyncOmniEngineImpl::stage_pools() const {
  std::vector<StagePoolInfo> infos;
  for (int32_t s = 0; s < graph_->size(); ++s) {
    StagePoolInfo info{.stage_id = s,
                       .paused = pools_[s]->paused(),
                       .sleep_level = pools_[s]->sleep_level(),
                       .replicas = {}};
    for (int32_t r = 0; r < pools_[s]->size(); ++r) {
      const StageReplica& replica = pools_[s]->replica(ReplicaId(r));
      if (replica.state() == ReplicaState::kRemoved) continue;
      info.replicas.push_back(replica_info(replica, r));
    }
    infos.push_back(std::move(info));
  }
  return infos;
}

std::vector<ReplicaInfo> AsyncOmniEngineImpl::stage_clients() const {
  std::vector<ReplicaInfo> infos;
  for (const auto& pool : pools_) {
    ReplicaInfo info{.replica_id = -1, .state = "dead"};
    for (int32_t r = pool->size() - 1; r >= 0; --r) {
      const StageReplica& replica = pool->replica(ReplicaId(r));
      if (replica.state() == ReplicaState::kReady) info = replica_info(replica, r);
    }
    infos.push_back(std::move(info));
  }
  return infos;
}

std::vector<QueueInfo> AsyncOmniEngineImpl::queues() const {
  return {queue_info("request_queue", requests_), queue_info("output_queue", outputs_),
          queue_info("rpc_output_queue", rpc_outputs_)};
}

Status AsyncOmniEngineImpl::check_stage(const char* param, int32_t stage_id) const {
  if (stage_id >= 0 && stage_id < graph_->size()) return {};
  return invalid_argument(fmt::format("`{}` is {}; this model has the stages 0 to {}.", param,
                                      stage_id, graph_->size() - 1))
      .with_param(param);
}

Result<StageRuntimeInfo> AsyncOmniEngineImpl::get_stage_metadata(int32_t stage_id) const {
  TUTTI_RETURN_IF_ERROR(check_stage("stage_id", stage_id));
  return stage_metadata_[stage_id];
}

std::vector<int32_t> AsyncOmniEngineImpl::replica_ids(int32_t stage) const {
  std::vector<int32_t> ids;
  for (int32_t r = 0; r < pools_[stage]->size(); ++r) {
    const ReplicaState state = pools_[stage]->replica(ReplicaId(r)).state();
    // One that drains takes no new requests; one that restarts will.
    if (state != ReplicaState::kRemoved && state != ReplicaState::kDraining) ids.push_back(r);
  }
  return ids;
}

// --- life

OmniStats AsyncOmniEngineImpl::stats() const {
  OmniStats stats;
  // Ended ones first and accepted ones last, so that no difference is negative.
  stats.finished = timeline_->num_finished();
  stats.aborted = timeline_->num_aborted();
  stats.failed = timeline_->num_failed();
  stats.max_live_requests = max_live_requests_;
  stats.waiting_requests = static_cast<int64_t>(requests_.size());
  stats.retried = timeline_->num_retried();
  stats.accepted = timeline_->num_accepted();
  const int64_t ended = stats.finished + stats.aborted + stats.failed;
  stats.live_requests = std::max<int64_t>(stats.accepted - ended - stats.waiting_requests, 0);
  stats.queues = queues();
  stats.pools = stage_pools();
  if (parts_.devices) stats.devices = parts_.devices();
  stats.spans_exported = timeline_->spans_exported();
  stats.spans_dropped = timeline_->spans_dropped();
  return stats;
}

Status AsyncOmniEngineImpl::health() const {
  if (shutting_down_.load()) return unavailable("The engine has been shut down.");
  if (!orchestrator_->running()) return unavailable("The orchestrator has stopped.");
  std::vector<std::string> without;
  for (int32_t s = 0; s < graph_->size(); ++s) {
    if (!pools_[s]->has_live_replica()) without.push_back(graph_->describe(s));
  }
  if (without.empty()) return {};
  return unavailable(fmt::format("There is no live replica of {}.", join(without)));
}

void AsyncOmniEngineImpl::shutdown() {
  const std::lock_guard lock(shutdown_mutex_);
  if (shutting_down_.exchange(true)) return;
  if (intake_) intake_->close();
  requests_.close();
  if (orchestrator_) orchestrator_->shut_down();
  mailbox_->close();
  // Everything has been said: readers need not wait for the stages.
  outputs_.close();
  calls_.take(rpc_outputs_);
  calls_.close(unavailable("The engine has stopped."));
  rpc_outputs_.close();
  for (const auto& pool : pools_) pool->stop();
  const Deadline deadline = Deadline::after(kShutdownTimeout_s);
  for (const auto& pool : pools_) pool->join(deadline);
  if (!timeline_) return;
  if (const Status written = timeline_->finish(); !written.ok()) {
    spdlog::error("{}", written.message());
  }
}

Result<std::unique_ptr<AsyncOmniEngine>> start_engine(EngineParts parts,
                                                      const EngineOptions& options) {
  TUTTI_ASSIGN_OR_RETURN(StageGraph graph, StageGraph::build(parts.pipeline->stages()));
  std::vector<SamplingParams> params = options.default_sampling_params_list;
  if (params.empty()) {
    for (int32_t s = 0; s < graph.size(); ++s) {
      params.push_back(graph.spec(s).default_sampling_params);
    }
  }
  if (static_cast<int32_t>(params.size()) != graph.size()) {
    return invalid_argument(fmt::format("`default_sampling_params_list` has {} entries; this model "
                                        "has {} stages.",
                                        params.size(), graph.size()))
        .with_param("default_sampling_params_list");
  }
  for (int32_t s = 0; s < graph.size(); ++s) {
    Status status = params[s].validate();
    if (!status.ok()) {
      return std::move(status).with_context("Default sampling parameters of " + graph.describe(s));
    }
  }
  auto engine = std::make_unique<AsyncOmniEngineImpl>(
      std::move(parts), options, std::make_shared<const StageGraph>(std::move(graph)),
      std::move(params));
  TUTTI_RETURN_IF_ERROR(engine->start(options));
  return std::unique_ptr<AsyncOmniEngine>(std::move(engine));
}

}  // namespace tutti
