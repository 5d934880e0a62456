// AsyncOmniEngine::create(): from a model directory to EngineParts.
#include <fmt/format.h>

#include <algorithm>
#include <stop_token>

#include "backend/executor.h"
#include "base/log.h"
#include "orchestrator/engine_parts.h"
#include "orchestrator/engine_plan.h"
#include "stages/replica_core.h"

namespace tutti {
namespace {

// Everything that loading stages shares, alive as long as one of their engines.
struct LoadContext {
  EnginePlan plan;
  std::shared_ptr<DeviceExecutor> executor;
  TimePoint epoch;
};

StageEngineOptions engine_options(const StageOptions& stage, TimePoint epoch) {
  return {.max_num_seqs = *stage.max_num_seqs,
          .max_num_batched_tokens = *stage.max_num_batched_tokens,
          .max_model_len = stage.max_model_len.value_or(0),
          .kv_cache_bytes = stage.kv_cache_bytes.value_or(1),
          .block_size = *stage.block_size,
          .enable_prefix_caching = *stage.enable_prefix_caching,
          .epoch = epoch};
}

Result<LoadedStage> load_stage(const LoadContext& context, int32_t stage,
                               const ReportProgress& report) {
  const Pipeline& pipeline = *context.plan.pipeline;
  const EngineOptions& options = context.plan.config.options;
  const StageSpec& spec = pipeline.stages()[stage];
  LoadOptions load = stage_load_options(context.plan.load, options, stage);
  std::stop_source cancel;
  load.cancel = cancel.get_token();
  load.on_progress = [&](double fraction, const std::string& what) {
    if (!report(fraction, what)) cancel.request_stop();
  };
  StageEngineOptions engine = engine_options(options.stages[stage], context.epoch);
  engine.max_loras = options.max_loras;
  engine.max_lora_rank = options.max_lora_rank;
  LoadedStage loaded;
  switch (spec.type) {
    case StageType::kLlm: {
      TUTTI_ASSIGN_OR_RETURN(std::unique_ptr<ArModel> model, pipeline.load_ar(stage, load));
      const int64_t trained = model->info().max_model_len;
      engine.max_model_len =
          engine.max_model_len > 0 ? std::min(engine.max_model_len, trained) : trained;
      loaded.max_prompt_tokens = engine.max_model_len - 1;  // room for one token of the answer
      loaded.engine =
          make_ar_engine(std::move(model), spec.has_text_output ? pipeline.tokenizer() : nullptr,
                         *context.executor, engine);
      break;
    }
    case StageType::kGeneration: {
      TUTTI_ASSIGN_OR_RETURN(std::unique_ptr<GenerationModel> model,
                             pipeline.load_generation(stage, load));
      loaded.engine = make_generation_engine(std::move(model), *context.executor, engine);
      break;
    }
    case StageType::kDiffusion:
      return unimplemented(
          fmt::format("Stage '{}' is a diffusion stage; llm and generation stages "
                      "are supported.",
                      spec.model_stage));
  }
  return loaded;
}

Result<std::unique_ptr<AsyncOmniEngine>> create_engine(const std::string& model,
                                                       const EngineOptions& options) {
  auto context = std::make_shared<LoadContext>();
  TUTTI_ASSIGN_OR_RETURN(context->plan, plan_engine(model, options));
  TUTTI_RETURN_IF_ERROR(context->plan.memory.check());
  const EngineOptions& resolved = context->plan.config.options;
  context->executor = DeviceExecutor::create_cpu(resolved.num_threads);
  context->epoch = Clock::steady().now();

  EngineParts parts;
  parts.model = model;
  parts.pipeline = context->plan.pipeline;
  parts.epoch = context->epoch;
  const auto num_stages = static_cast<int32_t>(resolved.stages.size());
  for (int32_t stage = 0; stage < num_stages; ++stage) {
    const StageOptions& of_stage = resolved.stages[stage];
    parts.stages.push_back(
        {.load = [context, stage](
                     const ReportProgress& report) { return load_stage(*context, stage, report); },
         .num_replicas = of_stage.num_replicas,
         .worker_process = of_stage.worker_process,
         .router = of_stage.router});
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
