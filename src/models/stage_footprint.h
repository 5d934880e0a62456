// StageFootprint: what one replica of a stage will take in memory, known before anything is loaded.
//
// Thread: plain data.
#pragma once

#include <cstdint>
#include <optional>

#include "models/ar_model.h"

namespace tutti {

// What bounds a step of the stage.
struct StepLimits {
  int32_t max_num_seqs = 0;
  int32_t max_num_batched_tokens = 0;
  int32_t num_threads = 0;
};

struct StageFootprint {
  // Weights that stay in the checkpoint's pages; shared by all replicas of a host.
  int64_t mapped_weight_bytes = 0;
  // Weights that are converted, repacked or drawn; shared by the replicas of a process.
  int64_t copied_weight_bytes = 0;
  // Scratch of the largest step. The steps of a device share it: they run one at a time.
  int64_t workspace_bytes = 0;
  // State of one sequence beside the KV cache, which is paged.
  int64_t bytes_per_sequence = 0;
  // What the KV cache is made of; none: the stage has none.
  std::optional<ArModelInfo> ar;
  // The stage keeps encoder outputs of media, up to mm_cache_bytes.
  bool caches_media = false;
};

}  // namespace tutti
