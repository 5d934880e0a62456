#include "orchestrator/async_omni_engine_impl.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"

namespace tutti {
namespace {

constexpr size_t kMailboxCapacity = 4096;
constexpr double kShutdownTimeout_s = 10;
constexpr double kRetryAfter_s = 1;

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

// Enough to keep every stage's batch full while others wait for their turn, and a bound on memory.
int64_t live_limit(const EngineOptions& options) {
  return std::max<int64_t>(16, 4 * int64_t{options.max_num_seqs});
}

ReplicaInfo replica_info(const StageReplica& replica, int32_t id) {
  const EngineStats stats = replica.stats();
  return {.replica_id = id,
          .state = std::string(replica_state_name(replica.state())),
          .outstanding = replica.outstanding(),
          .steps = stats.steps,
          .busy_s = stats.busy_s};
}

template <typename Queue>
QueueInfo queue_info(const char* name, const Queue& queue) {
  return {.name = name,
          .size = static_cast<int64_t>(queue.size()),
          .capacity = static_cast<int64_t>(queue.capacity()),
          .high_water = static_cast<int64_t>(queue.high_water())};
}

}  // namespace

AsyncOmniEngineImpl::AsyncOmniEngineImpl(EngineParts parts, const EngineOptions& options,
                                         std::shared_ptr<const StageGraph> graph,
                                         std::vector<SamplingParams> default_sampling_params)
    : parts_(std::move(parts)),
      graph_(std::move(graph)),
      default_sampling_params_(std::move(default_sampling_params)),
      async_chunk_(options.async_chunk),
      max_live_requests_(live_limit(options)),
      supported_tasks_(tasks_of(*graph_)),
      max_prompt_tokens_(std::make_shared<std::vector<std::atomic<int64_t>>>(parts_.stages.size())),
      requests_(static_cast<size_t>(options.request_queue_size)),
      outputs_(static_cast<size_t>(options.output_queue_size)),
      mailbox_(std::make_shared<OrchestratorMailbox>(kMailboxCapacity)) {
  for (int32_t s = 0; s < graph_->size(); ++s) stage_metadata_.push_back(graph_->runtime_info(s));
}

AsyncOmniEngineImpl::~AsyncOmniEngineImpl() { shutdown(); }

void AsyncOmniEngineImpl::start_pools(const std::shared_ptr<InitMonitor>& monitor) {
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
  std::vector<int32_t> replicas;
  for (const StageParts& stage : parts_.stages) replicas.push_back(stage.num_replicas);
  const auto monitor = std::make_shared<InitMonitor>(graph_, replicas, options.on_progress);
  start_pools(monitor);
  orchestrator_ = std::make_unique<OrchestratorThread>(
      graph_, pools_, OrchestratorQueues{requests_, outputs_, rpc_outputs_}, mailbox_,
      OrchestratorOptions{.async_chunk = async_chunk_,
                          .max_live_requests = max_live_requests_,
                          .epoch = parts_.epoch,
                          .replica_wait = from_seconds(options.replica_wait_s),
                          .max_retries = options.max_retries,
                          .max_pending_updates = options.max_pending_updates,
                          .max_audio_s = options.max_audio_s,
                          .on_replica_state = [monitor](StageId stage, ReplicaId,
                                                        ReplicaState state, const Status& cause) {
                            monitor->on_replica_state(stage, state, cause);
                          }});
  orchestrator_->start();
  const Status status = monitor->wait(options.stage_init_timeout_s, options.init_timeout_s);
  if (!status.ok()) {
    shutdown();
    return status;
  }
  int64_t max_prompt_tokens = 0;
  for (int32_t s = 0; s < graph_->size(); ++s) {
    const int64_t limit = (*max_prompt_tokens_)[s];
    if (!graph_->spec(s).sources.empty() || limit == 0) continue;
    max_prompt_tokens = max_prompt_tokens == 0 ? limit : std::min(limit, max_prompt_tokens);
  }
  processor_ = std::make_unique<RequestProcessor>(parts_.pipeline, graph_, default_sampling_params_,
                                                  max_prompt_tokens);
  return {};
}

std::thread::native_handle_type AsyncOmniEngineImpl::orchestrator_thread() const {
  return orchestrator_->native_handle();
}

std::vector<StagePoolInfo> AsyncOmniEngineImpl::stage_pools() const {
  std::vector<StagePoolInfo> infos;
  for (int32_t s = 0; s < graph_->size(); ++s) {
    StagePoolInfo info{.stage_id = s, .replicas = {}};
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

Result<StageRuntimeInfo> AsyncOmniEngineImpl::get_stage_metadata(int32_t stage_id) const {
  if (stage_id < 0 || stage_id >= graph_->size()) {
    return invalid_argument(fmt::format("`stage_id` is {}; this model has the stages 0 to {}.",
                                        stage_id, graph_->size() - 1))
        .with_param("stage_id");
  }
  return stage_metadata_[stage_id];
}

Status AsyncOmniEngineImpl::add_request(AddRequest request) {
  if (shutting_down_.load()) return unavailable("The engine is shutting down.");
  if (request.request_id.empty()) {
    return invalid_argument("`request_id` is empty; any other string is allowed.")
        .with_param("request_id");
  }
  const RequestKey key(next_key_.fetch_add(1));
  const std::string id = request.request_id;
  if (!live_.insert(id, key)) {
    return Status(StatusCode::kAlreadyExists,
                  fmt::format("A request with the id '{}' is still live.", id))
        .with_param("request_id");
  }
  const double queue_timeout_s = request.queue_timeout_s;
  Status status = enqueue(std::move(request), queue_timeout_s, key);
  if (!status.ok()) live_.erase(id);
  return status;
}

Status AsyncOmniEngineImpl::enqueue(AddRequest request, double queue_timeout_s, RequestKey key) {
  TUTTI_ASSIGN_OR_RETURN(std::unique_ptr<AcceptedRequest> accepted,
                         processor_->process(std::move(request)));
  accepted->key = key;
  switch (requests_.push(std::move(accepted), Deadline::after(queue_timeout_s))) {
    case QueueResult::kOk:
      return {};
    case QueueResult::kFull:
      return resource_exhausted(
                 fmt::format("The request queue is full: {} requests wait.", requests_.capacity()))
          .with_retry_after(kRetryAfter_s);
    case QueueResult::kClosed:
      break;
  }
  return unavailable(orchestrator_->running() ? "The engine is shutting down."
                                              : "The engine has stopped.");
}

Status AsyncOmniEngineImpl::abort(const std::vector<std::string>& request_ids) {
  std::vector<RequestKey> keys = live_.keys(request_ids);
  if (!keys.empty()) orchestrator_->post(AbortMessage{std::move(keys)});
  return {};
}

Result<std::optional<EngineMessage>> AsyncOmniEngineImpl::try_get_output(double timeout_s) {
  std::optional<EngineMessage> message = outputs_.pop(Deadline::after(timeout_s));
  if (message) {
    live_.seen(*message);
  } else if (outputs_.drained()) {
    return unavailable("The engine has stopped; there are no further outputs.");
  }
  return message;
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
  requests_.close();
  if (orchestrator_) orchestrator_->shut_down();
  mailbox_->close();
  // Everything has been said: readers need not wait for the stages.
  outputs_.close();
  rpc_outputs_.close();
  for (const auto& pool : pools_) pool->stop();
  const Deadline deadline = Deadline::after(kShutdownTimeout_s);
  for (const auto& pool : pools_) pool->join(deadline);
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
