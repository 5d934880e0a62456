// MemoryPlan: proves before loading that all stages fit their devices, or says by how much not.
//
// Counted are weights, KV caches, state of sequences and caches of encoder outputs of every
// replica, and scratch once per device and process: steps of a device run one at a time. Weights
// that stay in the checkpoint's pages count once per host, however many replicas map them; those
// that are converted, once per process. Adapters take memory when they are loaded, and are not
// counted: the most that they may come to is far more than what they do.
// Thread: plain data; plan_memory() reads /proc and checkpoint headers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/pipeline.h"
#include "stages/engine_config.h"

namespace tutti {

struct StageMemory {
  std::string name;
  std::string device;
  int32_t num_replicas = 1;
  bool worker_process = false;
  int64_t mapped_weight_bytes = 0;  // of all replicas together
  int64_t copied_weight_bytes = 0;  // of one process
  // Of one replica:
  int64_t kv_cache_bytes = 0;
  int64_t state_bytes = 0;     // of max_num_seqs sequences
  int64_t mm_cache_bytes = 0;  // when it is full
  int64_t workspace_bytes = 0;

  // Of all replicas, without the scratch that a device's stages share.
  int64_t total_bytes() const;
  // What a further replica takes.
  int64_t replica_bytes() const;
};

struct DeviceMemory {
  std::string device;
  int64_t needed_bytes = 0;
  int64_t available_bytes = 0;  // what stages may take
  int64_t workspace_bytes = 0;  // part of needed_bytes
  std::string limit;            // where available_bytes comes from
  bool limit_is_given = false;  // by device_memory_bytes; else the machine's
};

struct MemoryPlan {
  std::vector<StageMemory> stages;
  std::vector<DeviceMemory> devices;

  // OK, or one error with the sum per device as a table.
  Status check() const;
  // Whether a replica more than `num_replicas` of the stage fits what is there now.
  Status check_added(int32_t stage, int32_t num_replicas) const;
  // The table, with a line for every stage and device.
  std::string table() const;
};

// What this process may still take: the machine's MemAvailable or what the control group leaves,
// whichever is less, without a reserve for everybody else.
struct HostMemory {
  int64_t available_bytes = 0;
  std::string limit;
};
HostMemory host_memory();

// The options of a stage as its loader wants them.
LoadOptions stage_load_options(const LoadOptions& common, const EngineOptions& options, size_t s);

// Sets what only the model and the memory decide in `config`: kv_cache_bytes of stages that have a
// share of the memory (gpu_memory_utilization), max_model_len where it is more than the model's;
// and plans. Errors: unreadable checkpoints; a share that weights and scratch exceed.
Result<MemoryPlan> plan_memory(const Pipeline& pipeline, const LoadOptions& load, int num_threads,
                               EngineConfig& config);

}  // namespace tutti
