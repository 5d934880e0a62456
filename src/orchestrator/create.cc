// AsyncOmniEngine::create(): from a model directory to EngineParts.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <stop_token>

#include "backend/executor.h"
#include "base/log.h"
#include "models/bundled.h"
#include "orchestrator/engine_parts.h"
#include "stages/replica_core.h"

namespace tutti {
namespace {

Status check_range(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return {};
  return invalid_argument(
             fmt::format("`{}` is {}; it must be from {} to {}.", name, value, low, high))
      .with_param(name);
}

Status check_options(const EngineOptions& options) {
  constexpr double kMany = 1 << 20;
  TUTTI_RETURN_IF_ERROR(check_range("init_timeout", options.init_timeout_s, 0, 1e9));
  TUTTI_RETURN_IF_ERROR(check_range("stage_init_timeout", options.stage_init_timeout_s, 0, 1e9));
  TUTTI_RETURN_IF_ERROR(check_range("num_threads", options.num_threads, 0, 4096));
  TUTTI_RETURN_IF_ERROR(check_range("max_num_seqs", options.max_num_seqs, 1, kMany));
  TUTTI_RETURN_IF_ERROR(
      check_range("max_num_batched_tokens", options.max_num_batched_tokens, 1, kMany));
  TUTTI_RETURN_IF_ERROR(
      check_range("max_model_len", options.max_model_len.value_or(1), 1, 1 << 30));
  TUTTI_RETURN_IF_ERROR(
      check_range("kv_cache_bytes", static_cast<double>(options.kv_cache_bytes), 1, 1e15));
  TUTTI_RETURN_IF_ERROR(check_range("block_size", options.block_size, 1, 4096));
  TUTTI_RETURN_IF_ERROR(check_range("request_queue_size", options.request_queue_size, 1, kMany));
  TUTTI_RETURN_IF_ERROR(check_range("output_queue_size", options.output_queue_size, 1, kMany));
  if (options.dtype != "auto" && options.dtype != "float32" && options.dtype != "bfloat16") {
    return invalid_argument(
               fmt::format("`dtype` is '{}'; it must be auto, float32 or bfloat16.", options.dtype))
        .with_param("dtype");
  }
  if (options.load_format != "auto" && options.load_format != "dummy") {
    return invalid_argument(
               fmt::format("`load_format` is '{}'; it must be auto or dummy.", options.load_format))
        .with_param("load_format");
  }
  return check_media_sources(options.allowed_media_domains, options.allowed_media_path);
}

LoadOptions load_options(const std::filesystem::path& model_dir, const EngineOptions& options) {
  LoadOptions load;
  load.model_dir = model_dir;
  load.auto_dtype = options.dtype == "auto";
  load.dtype = options.dtype == "bfloat16" ? DType::kBF16 : DType::kF32;
  load.dummy_weights = options.load_format == "dummy";
  load.max_num_seqs = options.max_num_seqs;
  load.mm_cache_bytes = options.mm_cache_bytes;
  load.media_sources.urls.allowed_domains = options.allowed_media_domains;
  load.media_sources.directory = options.allowed_media_path;
  return load;
}

// Everything that loading stages shares, alive as long as one of their engines.
struct LoadContext {
  std::shared_ptr<const Pipeline> pipeline;
  std::shared_ptr<DeviceExecutor> executor;
  LoadOptions load;
  StageEngineOptions engine;
  std::optional<int32_t> max_model_len;
};

Result<LoadedStage> load_stage(const LoadContext& context, int32_t stage,
                               const ReportProgress& report) {
  const StageSpec& spec = context.pipeline->stages()[stage];
  LoadOptions load = context.load;
  std::stop_source cancel;
  load.cancel = cancel.get_token();
  load.on_progress = [&](double fraction, const std::string& what) {
    if (!report(fraction, what)) cancel.request_stop();
  };
  StageEngineOptions engine = context.engine;
  LoadedStage loaded;
  switch (spec.type) {
    case StageType::kLlm: {
      TUTTI_ASSIGN_OR_RETURN(std::unique_ptr<ArModel> model,
                             context.pipeline->load_ar(stage, load));
      engine.max_model_len = model->info().max_model_len;
      // The caller's limit is about prompts and answers, not about what stages make of them.
      if (spec.sources.empty() && context.max_model_len) {
        engine.max_model_len = std::min<int64_t>(engine.max_model_len, *context.max_model_len);
      }
      loaded.max_prompt_tokens = engine.max_model_len - 1;  // room for one token of the answer
      loaded.engine = make_ar_engine(std::move(model),
                                     spec.has_text_output ? context.pipeline->tokenizer() : nullptr,
                                     *context.executor, engine);
      break;
    }
    case StageType::kGeneration: {
      TUTTI_ASSIGN_OR_RETURN(std::unique_ptr<GenerationModel> model,
                             context.pipeline->load_generation(stage, load));
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
  TUTTI_RETURN_IF_ERROR(check_options(options));
  TUTTI_ASSIGN_OR_RETURN(const std::filesystem::path model_dir, resolve_model(model));
  auto context = std::make_shared<LoadContext>();
  context->load = load_options(model_dir, options);
  TUTTI_ASSIGN_OR_RETURN(context->pipeline, open_pipeline(context->load));
  context->executor = DeviceExecutor::create_cpu(options.num_threads);
  context->engine = {.max_num_seqs = options.max_num_seqs,
                     .max_num_batched_tokens = options.max_num_batched_tokens,
                     .max_model_len = 0,
                     .kv_cache_bytes = options.kv_cache_bytes,
                     .block_size = options.block_size,
                     .enable_prefix_caching = options.enable_prefix_caching,
                     .epoch = Clock::steady().now()};
  context->max_model_len = options.max_model_len;

  EngineParts parts;
  parts.model = model;
  parts.pipeline = context->pipeline;
  parts.epoch = context->engine.epoch;
  const auto num_stages = static_cast<int32_t>(context->pipeline->stages().size());
  for (int32_t stage = 0; stage < num_stages; ++stage) {
    parts.stages.push_back({.load = [context, stage](const ReportProgress& report) {
      return load_stage(*context, stage, report);
    }});
  }
  return start_engine(std::move(parts), options);
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
