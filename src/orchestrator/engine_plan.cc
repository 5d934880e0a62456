#include "orchestrator/engine_plan.h"

#include <filesystem>
#include <thread>

#include "media/media_source.h"
#include "models/bundled.h"
#include "orchestrator/timeline.h"

namespace tutti {
namespace {

// Puts in what opening the pipeline needs of the options; whether anything has changed.
bool set_pipeline_options(const EngineOptions& options, LoadOptions& load) {
  MediaSources& sources = load.media_sources;
  const auto set = [](auto& value, const auto& given) {
    return value != given && (value = given, true);
  };
  bool changed = set(load.tokenizer_dir, std::filesystem::path(options.tokenizer));
  changed |= set(sources.urls.allowed_domains, options.allowed_media_domains);
  changed |= set(sources.directory, options.allowed_media_path);
  return changed;
}

Status check_tokenizer(const std::string& tokenizer) {
  std::error_code ignored;
  if (tokenizer.empty() || std::filesystem::is_directory(tokenizer, ignored)) return {};
  return invalid_argument("`tokenizer` is '" + tokenizer + "'; it must be a directory that exists.")
      .with_param("tokenizer");
}

// Values that the schema of deploy files cannot judge.
Status check_options(const EngineOptions& options) {
  TUTTI_RETURN_IF_ERROR(check_tokenizer(options.tokenizer));
  TUTTI_RETURN_IF_ERROR(
      check_media_sources(options.allowed_media_domains, options.allowed_media_path));
  return Timeline::check(options.trace_out, options.otlp_endpoint);
}

}  // namespace

Result<EnginePlan> plan_engine(const std::string& model, const EngineOptions& options) {
  EnginePlan plan;
  TUTTI_ASSIGN_OR_RETURN(plan.load.model_dir, resolve_model(model));
  TUTTI_RETURN_IF_ERROR(check_tokenizer(options.tokenizer));
  set_pipeline_options(options, plan.load);
  TUTTI_ASSIGN_OR_RETURN(plan.pipeline, open_pipeline(plan.load));
  TUTTI_ASSIGN_OR_RETURN(plan.config, resolve_engine_config(options, *plan.pipeline));
  const EngineOptions& resolved = plan.config.options;
  TUTTI_RETURN_IF_ERROR(at_origin(plan.config, check_options(resolved)));
  // The deploy file is read for the stages of the model, which was open by then.
  if (set_pipeline_options(resolved, plan.load)) {
    TUTTI_ASSIGN_OR_RETURN(plan.pipeline, open_pipeline(plan.load));
  }
  plan.load.auto_dtype = resolved.dtype == "auto";
  plan.load.dtype = resolved.dtype == "bfloat16" ? DType::kBF16 : DType::kF32;
  plan.load.dummy_weights = resolved.load_format == "dummy";
  plan.load.mm_cache_bytes = resolved.mm_cache_bytes;
  const int num_threads = resolved.num_threads > 0
                              ? resolved.num_threads
                              : static_cast<int>(std::thread::hardware_concurrency());
  TUTTI_ASSIGN_OR_RETURN(plan.memory,
                         plan_memory(*plan.pipeline, plan.load, num_threads, plan.config));
  return plan;
}

}  // namespace tutti
