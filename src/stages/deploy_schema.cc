#include "stages/deploy_schema.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>

namespace tutti {

namespace {

constexpr uint8_t kBoth = kTopLevel | kPerStage;
constexpr double kMany = 1 << 20;
constexpr double kMost = 2147483647;
constexpr double kBytes = 1e15;
constexpr double kSeconds = 1e9;
using enum DeployType;

constexpr DeployKey refused(std::string_view name, uint8_t where, std::string_view why) {
  return {.name = name, .where = where, .why = why, .refused = true};
}
constexpr DeployKey only(std::string_view name, uint8_t where, DeployType type,
                         std::string_view value, std::string_view why) {
  return {.name = name,
          .where = where,
          .type = type,
          .low = -1,
          .high = kMany,
          .only = value,
          .why = why};
}
constexpr DeployKey no_effect(std::string_view name, uint8_t where, DeployType type,
                              std::string_view why) {
  return {.name = name, .where = where, .type = type, .low = -1, .high = kBytes, .why = why};
}
constexpr DeployKey alias(std::string_view name, uint8_t where, std::string_view canonical) {
  return {.name = name, .where = where, .canonical = canonical};
}
constexpr DeployKey integer(std::string_view name, uint8_t where, double low, double high) {
  return {.name = name, .where = where, .type = kInt, .low = low, .high = high};
}
constexpr DeployKey number(std::string_view name, uint8_t where, double low, double high,
                           bool above_low = false) {
  return {.name = name,
          .where = where,
          .type = kNumber,
          .low = low,
          .high = high,
          .above_low = above_low};
}
constexpr DeployKey choice(std::string_view name, uint8_t where, std::string_view choices) {
  return {.name = name, .where = where, .type = kChoice, .choices = choices};
}

constexpr std::string_view kOneDevice = "a stage runs whole on one device; use num_replicas";
constexpr std::string_view kDiffusion = "it concerns diffusion stages; there are none yet";
constexpr std::string_view kVllmsOwn = "it steers a part of vLLM that has no counterpart here";
constexpr std::string_view kNoGraphs = "steps are not captured as graphs on this device";
constexpr std::string_view kDuplex = "full-duplex sessions are not supported yet";
constexpr std::string_view kTopology = "the stages and their edges follow from the model";
constexpr std::string_view kStreams = "networks keep their state between chunks of any size";

constexpr auto kKeys = std::to_array<DeployKey>({
    // The file as a whole.
    {.name = "async_chunk", .where = kBoth, .type = kBool},
    {.name = "pipeline", .where = kTopLevel, .type = kText},
    {.name = "connectors", .where = kTopLevel, .type = kConnectors},
    {.name = "tokenizer", .where = kTopLevel, .type = kText},
    choice("dtype", kTopLevel, "auto, float32, bfloat16"),
    choice("load_format", kTopLevel, "auto, dummy"),
    integer("num_threads", kTopLevel, 0, 4096),
    integer("mm_cache_bytes", kTopLevel, 0, kBytes),
    integer("device_memory_bytes", kTopLevel, 0, kBytes),
    number("init_timeout", kTopLevel, 0, kSeconds),
    number("stage_init_timeout", kTopLevel, 0, kSeconds),
    integer("request_queue_size", kTopLevel, 1, kMany),
    integer("output_queue_size", kTopLevel, 1, kMany),
    integer("max_live_requests", kTopLevel, 0, kMany),
    integer("max_sessions", kTopLevel, 0, kMany),
    number("request_timeout_s", kTopLevel, 0, kSeconds),
    integer("max_tokens_per_request", kTopLevel, 0, kMost),
    number("max_audio_s", kTopLevel, 0, kSeconds),
    integer("max_pending_updates", kTopLevel, 1, kMany),
    integer("max_retries", kTopLevel, 0, 100),
    number("replica_wait_s", kTopLevel, 0, kSeconds),
    integer("max_loras", kTopLevel, 0, 1024),
    integer("max_lora_rank", kTopLevel, 1, 1024),
    {.name = "allowed_media_domains", .where = kTopLevel, .type = kTextList},
    {.name = "allowed_media_path", .where = kTopLevel, .type = kText},
    alias("allowed_local_media_path", kTopLevel, "allowed_media_path"),
    {.name = "trace_out", .where = kTopLevel, .type = kText},
    integer("trace_events", kTopLevel, 1, kMost),
    {.name = "otlp_endpoint", .where = kTopLevel, .type = kText},
    alias("otlp_traces_endpoint", kTopLevel, "otlp_endpoint"),
    // A stage; at the top level: of all stages that do not say otherwise.
    integer("max_num_seqs", kBoth, 1, kMany),
    integer("max_num_batched_tokens", kBoth, 1, kMany),
    integer("max_model_len", kBoth, 1, 1 << 30),
    integer("kv_cache_memory_bytes", kBoth, 1, kBytes),
    alias("kv_cache_bytes", kBoth, "kv_cache_memory_bytes"),
    integer("block_size", kBoth, 1, 4096),
    {.name = "enable_prefix_caching", .where = kBoth, .type = kBool},
    number("gpu_memory_utilization", kPerStage, 0, 1, true),
    integer("num_replicas", kPerStage, 1, 64),
    {.name = "worker_process", .where = kPerStage, .type = kBool},
    alias("process", kPerStage, "worker_process"),
    choice("router", kPerStage, "least_outstanding, round_robin, sticky"),
    {.name = "devices", .where = kPerStage, .type = kDevices},
    {.name = "default_sampling_params", .where = kPerStage, .type = kSampling},
    {.name = "input_connectors", .where = kPerStage, .type = kEdges},
    {.name = "output_connectors", .where = kPerStage, .type = kEdges},
    {.name = "engine_args", .where = kPerStage, .type = kStageKeys},
    {.name = "engine_extras", .where = kPerStage, .type = kStageKeys},
    {.name = "runtime", .where = kPerStage, .type = kStageKeys},
    // What vLLM-Omni's files say and is the case here anyway.
    no_effect("trust_remote_code", kBoth, kBool, "code of checkpoints is never run"),
    no_effect("enforce_eager", kBoth, kBool, kNoGraphs),
    no_effect("max_cudagraph_capture_size", kBoth, kInt, kNoGraphs),
    no_effect("async_scheduling", kBoth, kBool, "scheduling takes no time worth hiding"),
    no_effect("disable_hybrid_kv_cache_manager", kPerStage, kBool, "there is one kind of KV block"),
    no_effect("codec_chunk_frames", kConnectorExtra, kInt, kStreams),
    no_effect("initial_codec_chunk_frames", kConnectorExtra, kInt, kStreams),
    no_effect("codec_left_context_frames", kConnectorExtra, kInt, kStreams),
    no_effect("codec_streaming", kConnectorExtra, kBool, kStreams),
    no_effect("shm_threshold_bytes", kConnectorExtra, kInt, "payloads of one process are shared"),
    only("enable_chunked_prefill", kBoth, kBool, "true", "prompts are always taken in chunks"),
    only("session_mode", kTopLevel, kText, "turn", kDuplex),
    only("active_stream_window", kTopLevel, kInt, "0", "all streams take their turn"),
    only("tensor_parallel_size", kBoth, kInt, "1", kOneDevice),
    only("pipeline_parallel_size", kBoth, kInt, "1", kOneDevice),
    only("data_parallel_size", kBoth, kInt, "1", kOneDevice),
    only("enable_expert_parallel", kBoth, kBool, "false", kOneDevice),
    only("silence_ban_frames", kPerStage, kInt, "0", "no frame is banned"),
    // What they say and cannot be honoured yet.
    refused("quantization", kBoth, "weights are float32 or bfloat16; see dtype"),
    refused("distributed_executor_backend", kTopLevel, "set worker_process for each stage"),
    refused("custom_voice_dir", kTopLevel, "only the model's own voices are known"),
    refused("model_runner", kBoth, kVllmsOwn),
    refused("duplex_session", kTopLevel, kDuplex),
    refused("edges", kTopLevel, kTopology),
    refused("stage_args", kTopLevel, "it is the old schema; use stages"),
    refused("stage_type", kPerStage, kTopology),
    refused("model_stage", kPerStage, kTopology),
    refused("engine_input_source", kPerStage, kTopology),
    refused("final_output", kPerStage, kTopology),
    refused("final_output_type", kPerStage, kTopology),
    refused("is_comprehension", kPerStage, kTopology),
    refused("env", kPerStage, "stages share the environment of the program"),
    refused("default_pooling_params", kPerStage, "there are no pooling stages"),
    refused("subtalker_sampling_params", kPerStage,
            "a talker's code predictor samples as the talker; use default_sampling_params"),
    refused("mm_processor_cache_gb", kPerStage, "encoder outputs are cached; see mm_cache_bytes"),
    refused("max_batch_size", kPerStage, "use max_num_seqs"),
    refused("attention_backend", kPerStage, kVllmsOwn),
    refused("moe_backend", kPerStage, kVllmsOwn),
    refused("linear_backend", kPerStage, kVllmsOwn),
    refused("compilation_config", kPerStage, kVllmsOwn),
    refused("profiler_config", kPerStage, kVllmsOwn),
    refused("speculative_config", kPerStage, kVllmsOwn),
    refused("additional_config", kPerStage, kVllmsOwn),
    refused("hf_overrides", kPerStage, kVllmsOwn),
    refused("skip_mm_profiling", kPerStage, kVllmsOwn),
    refused("enable_flashinfer_autotune", kPerStage, kVllmsOwn),
    refused("mamba_ssm_cache_dtype", kPerStage, kVllmsOwn),
    refused("config_format", kPerStage, kVllmsOwn),
    refused("tokenizer_mode", kPerStage, kVllmsOwn),
    refused("limit_mm_per_prompt", kPerStage, kVllmsOwn),
    refused("worker_cls", kPerStage, kVllmsOwn),
    refused("scheduler_cls", kPerStage, kVllmsOwn),
    refused("numa_bind", kPerStage, "threads are not bound to nodes; see num_threads"),
    refused("model_class_name", kPerStage, kDiffusion),
    refused("parallel_config", kPerStage, kDiffusion),
    refused("ulysses_degree", kPerStage, kDiffusion),
    refused("ring_degree", kPerStage, kDiffusion),
    refused("sequence_parallel_size", kPerStage, kDiffusion),
    refused("cfg_parallel_size", kPerStage, kDiffusion),
    refused("vae_use_slicing", kPerStage, kDiffusion),
    refused("vae_use_tiling", kPerStage, kDiffusion),
    refused("cache_backend", kPerStage, kDiffusion),
    refused("cache_config", kPerStage, kDiffusion),
    refused("enable_cpu_offload", kPerStage, kDiffusion),
    refused("diffusion_attention_backend", kPerStage, kDiffusion),
    // default_sampling_params.
    number("temperature", kSamplingKey, 0, 100),
    number("top_p", kSamplingKey, 0, 1, true),
    integer("top_k", kSamplingKey, -1, kMost),
    number("min_p", kSamplingKey, 0, 1),
    number("repetition_penalty", kSamplingKey, 0, 100, true),
    number("frequency_penalty", kSamplingKey, -2, 2),
    number("presence_penalty", kSamplingKey, -2, 2),
    integer("seed", kSamplingKey, 0, 9007199254740992.0),
    integer("max_tokens", kSamplingKey, 1, kMost),
    integer("min_tokens", kSamplingKey, 0, kMost),
    {.name = "ignore_eos", .where = kSamplingKey, .type = kBool},
    {.name = "stop_token_ids", .where = kSamplingKey, .type = kIntList},
    {.name = "stop", .where = kSamplingKey, .type = kTextList},
    {.name = "include_stop_str_in_output", .where = kSamplingKey, .type = kBool},
    {.name = "skip_special_tokens", .where = kSamplingKey, .type = kBool},
    integer("logprobs", kSamplingKey, 0, 1024),
    {.name = "logit_bias", .where = kSamplingKey, .type = kBiasMap},
    no_effect("detokenize", kSamplingKey, kBool, "stages with text always put out text"),
    refused("n", kSamplingKey, "a request has one answer"),
    refused("guidance_scale", kSamplingKey, kDiffusion),
    refused("num_inference_steps", kSamplingKey, kDiffusion),
});

}  // namespace

std::span<const DeployKey> deploy_keys() { return kKeys; }

const DeployKey* find_deploy_key(std::string_view name, uint8_t where) {
  for (const DeployKey& key : kKeys) {
    if (key.name != name || (key.where & where) == 0) continue;
    return key.canonical.empty() ? &key : find_deploy_key(key.canonical, where);
  }
  return nullptr;
}

std::vector<std::string> deploy_key_names(uint8_t where) {
  std::vector<std::string> names;
  for (const DeployKey& key : kKeys) {
    if ((key.where & where) != 0 && !key.refused) names.emplace_back(key.name);
  }
  if (where == kTopLevel) names.insert(names.end(), {"base_config", "stages", "platforms"});
  if (where == kPerStage) names.emplace_back("stage_id");
  return names;
}

Status check_deploy_value(const DeployKey& key, const std::string& value) {
  bool good = true;
  if (key.type == DeployType::kInt || key.type == DeployType::kNumber) {
    const double number = std::strtod(value.c_str(), nullptr);
    good = number >= key.low && number <= key.high && !(key.above_low && number == key.low);
  } else if (key.type == DeployType::kChoice) {
    good = (", " + std::string(key.choices) + ",").find(" " + value + ",") != std::string::npos;
  }
  if (good) return {};
  const std::string name(key.name);
  return invalid_argument(
             fmt::format("`{}` is {}; allowed is {}.", name, value, allowed_values(key)))
      .with_param(name);
}

std::string allowed_values(const DeployKey& key) {
  switch (key.type) {
    case DeployType::kBool:
      return "true or false";
    case DeployType::kInt:
      return fmt::format("an integer from {:.0f} to {:.0f}", key.low, key.high);
    case DeployType::kNumber:
      return fmt::format("a number {} {:g} to {:g}", key.above_low ? "above" : "from", key.low,
                         key.high);
    case DeployType::kText:
      return "a string";
    case DeployType::kChoice:
      return fmt::format("one of {}", key.choices);
    case DeployType::kDevices:
      return "cpu, or numbers of CUDA devices such as 0, \"0,1\" or cuda:0";
    case DeployType::kIntList:
      return "a list of integers";
    case DeployType::kTextList:
      return "a string or a list of strings";
    case DeployType::kBiasMap:
      return "a mapping of token ids to biases from -100 to 100";
    case DeployType::kSampling:
    case DeployType::kConnectors:
    case DeployType::kEdges:
    case DeployType::kStageKeys:
      return "a mapping";
    case DeployType::kAny:
      break;
  }
  return "nothing";
}

}  // namespace tutti
