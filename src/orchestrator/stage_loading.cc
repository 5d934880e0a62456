#include "orchestrator/stage_loading.h"

#include <fmt/format.h>

#include <algorithm>
#include <stop_token>

#include "stages/wire.h"

namespace tutti {

template <>
inline constexpr DType kWireLast<DType> = DType::kBool;

template <typename Archive>
void describe(Archive& ar, LoadOptions& o) {
  auto& [model_dir, tokenizer_dir, dtype, auto_dtype, dummy_weights, dummy_seed, max_num_seqs,
         mm_cache_bytes, media_sources, on_progress, cancel] = o;
  std::string folder = model_dir.string(), tokenizer = tokenizer_dir.string();
  ar(folder, tokenizer, dtype, auto_dtype, dummy_weights, dummy_seed, max_num_seqs, mm_cache_bytes);
  if constexpr (Archive::kReads) {
    model_dir = folder;
    tokenizer_dir = tokenizer;
  }
}

template <typename Archive>
void describe(Archive& ar, StageEngineOptions& o) {
  auto& [max_num_seqs, max_num_batched_tokens, max_model_len, kv_cache_bytes, block_size,
         enable_prefix_caching, max_loras, max_lora_rank, epoch, clock] = o;
  ar(max_num_seqs, max_num_batched_tokens, max_model_len, kv_cache_bytes, block_size,
     enable_prefix_caching, max_loras, max_lora_rank, epoch);
  if constexpr (Archive::kReads) clock = nullptr;  // a worker has the steady clock
}

template <typename Archive>
void describe(Archive& ar, StageLoadSpec& s) {
  auto& [load, engine, num_threads] = s;
  ar(load, engine, num_threads);
}

Result<LoadedStage> load_stage(const Pipeline& pipeline, int32_t stage, const StageLoadSpec& spec,
                               DeviceExecutor& executor, const ReportProgress& report) {
  const StageSpec& what = pipeline.stages()[stage];
  LoadOptions load = spec.load;
  std::stop_source cancel;
  load.cancel = cancel.get_token();
  load.on_progress = [&](double fraction, const std::string& doing) {
    if (!report(fraction, doing)) cancel.request_stop();
  };
  StageEngineOptions engine = spec.engine;
  LoadedStage loaded;
  switch (what.type) {
    case StageType::kLlm: {
      TUTTI_ASSIGN_OR_RETURN(std::unique_ptr<ArModel> model, pipeline.load_ar(stage, load));
      const int64_t trained = model->info().max_model_len;
      engine.max_model_len =
          engine.max_model_len > 0 ? std::min(engine.max_model_len, trained) : trained;
      loaded.max_prompt_tokens = engine.max_model_len - 1;  // room for one token of the answer
      loaded.engine =
          make_ar_engine(std::move(model), what.has_text_output ? pipeline.tokenizer() : nullptr,
                         executor, engine);
      break;
    }
    case StageType::kGeneration: {
      TUTTI_ASSIGN_OR_RETURN(std::unique_ptr<GenerationModel> model,
                             pipeline.load_generation(stage, load));
      loaded.engine = make_generation_engine(std::move(model), executor, engine);
      break;
    }
    case StageType::kDiffusion:
      return unimplemented(
          fmt::format("Stage '{}' is a diffusion stage; llm and generation stages are supported.",
                      what.model_stage));
  }
  return loaded;
}

std::string encode_load_spec(const StageLoadSpec& spec) {
  WireWriter writer;
  writer(const_cast<StageLoadSpec&>(spec));
  const auto bytes = writer.meta();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Result<StageLoadSpec> decode_load_spec(const std::string& bytes) {
  WireReader reader(std::as_bytes(std::span(bytes)), nullptr);
  StageLoadSpec spec;
  reader(spec);
  TUTTI_RETURN_IF_ERROR(reader.finish());
  return spec;
}

namespace {

// What the engines of a worker borrow.
struct WorkerContext {
  StageLoadSpec spec;
  std::shared_ptr<const Pipeline> pipeline;
  std::shared_ptr<const StageGraph> graph;
  std::unique_ptr<DeviceExecutor> executor;
};

Result<std::shared_ptr<WorkerContext>> open_context(const WorkerHello& hello) {
  auto context = std::make_shared<WorkerContext>();
  TUTTI_ASSIGN_OR_RETURN(context->spec, decode_load_spec(hello.load_spec));
  TUTTI_ASSIGN_OR_RETURN(context->pipeline, open_pipeline(context->spec.load));
  TUTTI_ASSIGN_OR_RETURN(StageGraph graph, StageGraph::build(context->pipeline->stages()));
  if (hello.stage < 0 || hello.stage >= graph.size()) {
    return invalid_argument(fmt::format("There is no stage {}; the model has the stages 0 to {}.",
                                        hello.stage, graph.size() - 1));
  }
  context->graph = std::make_shared<const StageGraph>(std::move(graph));
  context->executor = DeviceExecutor::create_cpu(context->spec.num_threads);
  return context;
}

}  // namespace

WorkerLoader make_worker_loader() {
  return [context = std::shared_ptr<WorkerContext>()](
             const WorkerHello& hello,
             const WorkerProgressReport& report) mutable -> Result<WorkerStage> {
    if (!context) {
      TUTTI_ASSIGN_OR_RETURN(context, open_context(hello));
    }
    TUTTI_ASSIGN_OR_RETURN(
        LoadedStage loaded,
        load_stage(*context->pipeline, hello.stage, context->spec, *context->executor, report));
    WorkerStage stage;
    stage.graph = context->graph;
    stage.engine = std::move(loaded.engine);
    stage.max_prompt_tokens = loaded.max_prompt_tokens;
    stage.owner = context;
    return stage;
  };
}

}  // namespace tutti
