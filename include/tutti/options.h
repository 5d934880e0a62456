// EngineOptions: how AsyncOmniEngine builds a model's stages.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tutti/sampling_params.h"

namespace tutti {

// Progress of loading, as it happens: stage name, 0..1, and what is being done.
using LoadProgress =
    std::function<void(const std::string& stage, double fraction, const std::string& what)>;

struct EngineOptions {
  double init_timeout_s = 600;
  double stage_init_timeout_s = 300;
  // Chunks stream between stages; off hands over whole results. Same tokens and samples.
  bool async_chunk = true;
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
  int32_t request_queue_size = 256;
  int32_t output_queue_size = 4096;
  // Overrides default_sampling_params_list where given (one entry per stage).
  std::vector<SamplingParams> default_sampling_params_list;
  LoadProgress on_progress;
};

}  // namespace tutti
