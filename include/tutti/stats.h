// Figures of a running engine: its queues, pools, replicas and devices at one moment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tutti {

struct ReplicaInfo {
  int32_t replica_id = 0;
  std::string state;        // starting, ready, draining, dead
  int64_t outstanding = 0;  // requests bound to it
  int64_t steps = 0;        // batched forwards so far
  double busy_s = 0;        // seconds spent in them
  // Sequences: admitted and not yet scheduled, in the batch, waiting for a chunk from upstream.
  int64_t waiting = 0;
  int64_t running = 0;
  int64_t blocked = 0;
  int64_t kv_blocks_total = 0;  // 0: a stage without KV cache
  int64_t kv_blocks_used = 0;   // held by sequences
  int64_t preemptions = 0;
  int64_t prefix_query_tokens = 0;  // of prompts that the prefix cache was asked for
  int64_t prefix_hit_tokens = 0;    // of these, not computed again
};

struct StagePoolInfo {
  int32_t stage_id = 0;
  // As callers have asked for: `pause`, `sleep`. 0: awake.
  bool paused = false;
  int32_t sleep_level = 0;
  std::vector<ReplicaInfo> replicas;
};

struct QueueInfo {
  std::string name;  // request_queue, output_queue, rpc_output_queue
  int64_t size = 0;
  int64_t capacity = 0;
  int64_t high_water = 0;
};

struct DeviceInfo {
  std::string name;  // "cpu"
  int32_t num_threads = 0;
  int64_t steps = 0;
  int64_t waiting_steps = 0;  // whose turn has not come
  double busy_s = 0;          // wall time inside steps
  int64_t workspace_high_water_bytes = 0;
};

struct OmniStats {
  int64_t live_requests = 0;      // taken by the orchestrator, not ended
  int64_t waiting_requests = 0;   // in the request queue
  int64_t max_live_requests = 0;  // places, as the options and the deploy file resolve
  // Totals since the start; accepted = live + waiting + finished + aborted + failed.
  int64_t accepted = 0;
  int64_t finished = 0;
  int64_t aborted = 0;
  int64_t failed = 0;
  int64_t retried = 0;  // begun again because a replica had died before anything was delivered
  std::vector<QueueInfo> queues;
  std::vector<StagePoolInfo> pools;
  std::vector<DeviceInfo> devices;
  int64_t spans_exported = 0;  // to otlp_endpoint
  int64_t spans_dropped = 0;   // because the collector was slower, or unreachable
};

}  // namespace tutti
