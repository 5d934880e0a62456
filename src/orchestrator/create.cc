// AsyncOmniEngine::create(): from a model directory to EngineParts.
#include <algorithm>

#include "backend/executor.h"
#include "base/log.h"
#include "orchestrator/engine_parts.h"
#include "orchestrator/engine_plan.h"
#include "orchestrator/stage_loading.h"
#include "stages/replica_core.h"

namespace tutti {
namespace {

// Everything that loading stages shares, alive as long as one of their engines.
struct LoadContext {
  EnginePlan plan;
  std::shared_ptr<DeviceExecutor> executor;
  TimePoint epoch;
  int32_t worker_threads = 1;
};

StageEngineOptions engine_options(const EngineOptions& options, const StageOptions& stage,
                                  TimePoint epoch) {
  return {.max_num_seqs = *stage.max_num_seqs,
          .max_num_batched_tokens = *stage.max_num_batched_tokens,
          .max_model_len = stage.max_model_len.value_or(0),
          .kv_cache_bytes = stage.kv_cache_bytes.value_or(1),
          .block_size = *stage.block_size,
          .enable_prefix_caching = *stage.enable_prefix_caching,
          .max_loras = options.max_loras,
          .max_lora_rank = options.max_lora_rank,
          .epoch = epoch};
}

DeviceInfo device_info(const DeviceExecutor& executor) {
  const ExecutorStats stats = executor.stats();
  return {.name = "cpu",
          .num_threads = executor.num_threads(),
          .steps = static_cast<int64_t>(stats.steps),
          .waiting_steps = static_cast<int64_t>(stats.waiting),
          .busy_s = stats.busy_s,
          .workspace_high_water_bytes = static_cast<int64_t>(stats.workspace_high_water_bytes)};
}

StageLoadSpec load_spec(const LoadContext& context, int32_t stage) {
  const EngineOptions& options = context.plan.config.options;
  return {
      .load = stage_load_options(context.plan.load, options, static_cast<size_t>(stage)),
      .engine = engine_options(options, options.stages[static_cast<size_t>(stage)], context.epoch),
      .num_threads = context.worker_threads};
}

// Threads of each worker: the cores are shared by number, docs/decisions/0014.
int32_t worker_threads(const EngineOptions& options, int32_t num_cores) {
  if (options.num_threads > 0) return options.num_threads;
  int32_t processes = 0;
  bool threads = false;
  for (const StageOptions& stage : options.stages) {
    if (stage.worker_process) processes += stage.num_replicas;
    threads |= !stage.worker_process;
  }
  return std::max(1, num_cores / std::max(1, processes + (threads ? 1 : 0)));
}

Result<std::unique_ptr<AsyncOmniEngine>> create_engine(const std::string& model,
                                                       const EngineOptions& options) {
  auto context = std::make_shared<LoadContext>();
  TUTTI_ASSIGN_OR_RETURN(context->plan, plan_engine(model, options));
  TUTTI_RETURN_IF_ERROR(context->plan.memory.check());
  const EngineOptions& resolved = context->plan.config.options;
  context->executor = DeviceExecutor::create_cpu(resolved.num_threads);
  context->epoch = Clock::steady().now();
  context->worker_threads = worker_threads(resolved, context->executor->num_threads());

  EngineParts parts;
  parts.model = model;
  parts.tokenizer = resolved.tokenizer;
  parts.pipeline = context->plan.pipeline;
  parts.epoch = context->epoch;
  parts.devices = [context] { return std::vector{device_info(*context->executor)}; };
  parts.check_added_replica = [context](int32_t stage, int32_t num_replicas) {
    return context->plan.memory.check_added(stage, num_replicas);
  };
  const auto num_stages = static_cast<int32_t>(resolved.stages.size());
  for (int32_t stage = 0; stage < num_stages; ++stage) {
    const StageOptions& of_stage = resolved.stages[stage];
    StageParts of_parts;
    of_parts.load = [context, stage](const ReportProgress& report) {
      return load_stage(*context->plan.pipeline, stage, load_spec(*context, stage),
                        *context->executor, report);
    };
    of_parts.num_replicas = of_stage.num_replicas;
    of_parts.router = of_stage.router;
    if (of_stage.worker_process) {
      of_parts.worker.emplace().load_spec = encode_load_spec(load_spec(*context, stage));
    }
    parts.stages.push_back(std::move(of_parts));
  }
  return start_engine(std::move(parts), resolved);
}

}  // namespace

Result<std::unique_ptr<AsyncOmniEngine>> AsyncOmniEngine::create(const std::string& model,
                                                                 EngineOptions options) {
  init_logging();
  try {
    return create_engine(model, options);
  } catch (...) {
    return status_of_current_exception("Opening the model");
  }
}

}  // namespace tutti
