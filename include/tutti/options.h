// EngineOptions: how AsyncOmniEngine builds a model's stages.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tutti/sampling_params.h"

namespace tutti {

// Progress of loading, as it happens: stage name, 0..1, and what is being done.
using LoadProgress =
    std::function<void(const std::string& stage, double fraction, const std::string& what)>;

// How requests find a replica of a stage.
enum class RouterPolicy : uint8_t {
  kLeastOutstanding,  // the replica with the fewest requests, the first on ties
  kRoundRobin,
  kSticky,  // the same replica for requests of one conversation (same first prompt block)
};

// What is set for one stage only; unset fields take the engine's.
struct StageOptions {
  int32_t num_replicas = 1;
  bool worker_process = false;  // each replica in a process of its own; else a thread
  RouterPolicy router = RouterPolicy::kLeastOutstanding;
  std::string devices = "cpu";
  std::optional<int32_t> max_num_seqs;
  std::optional<int32_t> max_num_batched_tokens;
  std::optional<int32_t> max_model_len;
  std::optional<int64_t> kv_cache_bytes;
  std::optional<int32_t> block_size;
  std::optional<bool> enable_prefix_caching;
  // Share of the device's memory, (0, 1], that the stage may take: its KV cache gets what weights
  // and scratch leave of it. Unset: kv_cache_bytes decides. Ignored beside the stage's own
  // kv_cache_bytes.
  std::optional<double> gpu_memory_utilization;
};

struct EngineOptions {
  double init_timeout_s = 600;
  double stage_init_timeout_s = 300;
  // Chunks stream between stages; off hands over whole results. Same tokens and samples.
  bool async_chunk = true;
  // Directory with the tokenizer and its chat template; empty: the model's own.
  std::string tokenizer;
  // "auto" (the checkpoint's), "float32" or "bfloat16": dtype of weights and KV cache.
  std::string dtype = "auto";
  // "auto" reads the checkpoint; "dummy" draws random weights from the config alone.
  std::string load_format = "auto";
  int32_t num_threads = 0;                    // CPU threads; 0: all cores
  int32_t max_num_seqs = 16;                  // requests a stage runs at once
  int32_t max_num_batched_tokens = 2048;      // tokens of one step
  std::optional<int32_t> max_model_len;       // none: the model's own
  int64_t kv_cache_bytes = int64_t{1} << 30;  // per AR stage; less when the model needs less
  int32_t block_size = 16;                    // tokens per KV block
  // KV blocks stay for later requests that begin with the same tokens and media.
  bool enable_prefix_caching = true;
  // Encoder outputs of pictures, sounds and clips that stay for later requests; 0: none.
  int64_t mm_cache_bytes = int64_t{256} << 20;
  // Hosts, and their subdomains, that http(s):// URLs of media may name; empty: none. Addresses
  // that are not in the public network are refused whatever the name.
  std::vector<std::string> allowed_media_domains;
  // Directory below which file:// URLs of media may lie; empty: none.
  std::string allowed_media_path;
  int32_t request_queue_size = 256;
  int32_t output_queue_size = 4096;
  // One per stage; empty: defaults.
  std::vector<StageOptions> stages;
  // Every replica of every stage in a process of its own, whatever `stages` says.
  bool worker_processes = false;
  // Requests in progress at once; further ones wait in the request queue. 0: four times
  // max_num_seqs, at least 16.
  int32_t max_live_requests = 0;
  // Resumable requests at once; those that wait for their next segment take no place of
  // max_live_requests. 0: four times as many.
  int32_t max_sessions = 0;
  double request_timeout_s = 0;        // wall time of a request; 0: no limit
  int32_t max_tokens_per_request = 0;  // output tokens of any stage; 0: no limit
  double max_audio_s = 0;              // of speech per request; 0: no limit
  int32_t max_pending_updates = 64;    // segments of one resumable request that wait
  int32_t max_retries = 1;             // of a request whose replica died before it was answered
  double replica_wait_s = 30;          // how long requests wait for a replica to come back
  int32_t max_loras = 8;               // adapters loaded at once, per stage
  int32_t max_lora_rank = 64;
  // Timeline of the latest requests in Chrome trace format, written at shutdown; empty: none.
  std::string trace_out;
  int32_t trace_events = 1 << 16;  // kept for it; the oldest go first
  // Spans of requests go to this OpenTelemetry collector by OTLP/HTTP JSON:
  // "http://HOST:PORT/v1/traces"; empty: none.
  std::string otlp_endpoint;
  // Overrides default_sampling_params_list where given (one entry per stage).
  std::vector<SamplingParams> default_sampling_params_list;
  // Memory that the stages of one device may take; 0: what the machine has left, less a reserve.
  int64_t device_memory_bytes = 0;
  // Deploy file (YAML; docs/deploy.md): values for what is not set here. Empty: none.
  std::string deploy_config;
  // Values for single stages that win over everything: "0.max_num_seqs=4", "talker.devices=cpu", or
  // a JSON object as vLLM-Omni takes it, {"0": {"max_num_seqs": 4}}.
  std::vector<std::string> stage_overrides;
  // Names of options that count as set although they have their default's value, and by what
  // ("--max-num-seqs"). Options of other values count as set anyway.
  std::map<std::string, std::string> option_origins;
  LoadProgress on_progress;
};

}  // namespace tutti
