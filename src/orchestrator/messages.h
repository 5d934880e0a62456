// What the orchestrator is told. What it says is tutti/output.h (to callers) and
// stages/stage_client.h (to replicas).
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "tutti/output.h"
#include "tutti/sampling_params.h"

#include "base/clock.h"
#include "base/dual_queue.h"
#include "base/ids.h"
#include "models/stage_io.h"
#include "stages/stage_client.h"

namespace tutti {

// One piece of input and how to answer it: all of a plain request, or a segment of a resumable one.
struct RequestSegment {
  StageInput input;                             // of the stages without sources; voice resolved
  std::vector<SamplingParams> sampling_params;  // one per stage
  std::vector<uint64_t> seeds;                  // one per stage
  bool last = true;
  std::string open_role = {};  // of the chat message that it leaves open; empty: none
  double arrival_s = 0;        // of a later segment: engine's epoch
};

// A request that runs beside its parent in the stages without sources and whose payload reaches the
// parent's downstream stages (classifier-free guidance: the negative prompt).
struct CompanionRequest {
  RequestKey key;
  std::string role;  // "negative"
  StageInput input;
};

// What the caller's side may see of a request in progress. Owned by the AcceptedRequest alone, so
// that it is gone when the request has ended.
struct RequestHandle {
  // Segments of a resumable request whose answers are complete; the orchestrator counts them.
  std::atomic<int32_t> segments_done{0};
  // Tokens of these answers, of the stage that made the most. Set before segments_done.
  std::atomic<int64_t> tokens_done{0};
};

// A request whose input has been processed in the caller's thread: ready to submit.
struct AcceptedRequest {
  RequestKey key;
  std::string request_id;
  RequestSegment segment;                       // the first
  std::vector<CompanionRequest> companions;     // submitted, routed and aborted with it
  std::vector<int32_t> final_output_stage_ids;  // wanted outputs, ascending, not empty
  int32_t priority = 0;
  std::optional<int32_t> data_parallel_rank;
  uint64_t route_hash = 0;  // requests of equal hash go to one replica under RouterPolicy::kSticky
  std::string lora_name;
  std::string lora_path;  // goes with the name into every StageRequest
  std::optional<bool> reasoning_ended;
  double arrival_s = 0;                   // engine's epoch
  TimePoint deadline = TimePoint::max();  // ends with an error then
  double timeout_s = 0;                   // what the deadline follows from; 0: none
  std::string prompt_text;                // for traces
  std::map<std::string, std::string> trace_headers;
  std::shared_ptr<RequestHandle> handle;  // may be none
};
using RequestQueue = DualQueue<std::unique_ptr<AcceptedRequest>>;
using OutputQueue = DualQueue<EngineMessage>;
// The answer to an RpcMessage: one result per live replica, by stage, then replica.
struct RpcAnswer {
  uint64_t ticket = 0;
  Status status;  // not OK: deadline passed; `results` has what came in time
  std::vector<RpcResult> results;
};
// The answer to an AbortMessage with a ticket: every stage has let go.
struct AbortAnswer {
  uint64_t ticket = 0;
  std::vector<AbortResult> results;  // of the requests that were live, in the order of the keys
};
// The answer to a ReplicaMessage.
struct ReplicaAnswer {
  uint64_t ticket = 0;
  Result<int32_t> replica_id;
};
// Answers of control methods: apart, so that control traffic never races with outputs.
using RpcOutput = std::variant<RpcAnswer, AbortAnswer, ReplicaAnswer>;
using RpcOutputQueue = DualQueue<RpcOutput>;

// Look into the request queue: something was put in.
struct RequestsReadyMessage {};
// A further segment of a live or waiting resumable request. Beside the request queue: it must not
// wait behind requests that wait for it to end. Bounded by max_pending_updates per request.
struct UpdateMessage {
  RequestKey key;
  RequestSegment segment;
};
// Ends requests. Each gets its terminal message when every stage has let go of it, or at the
// latest after OrchestratorOptions::abort_timeout.
struct AbortMessage {
  std::vector<RequestKey> keys;
  uint64_t ticket = 0;  // 0: nobody waits for the answer
};
// Runs a control method on every live replica of `stage_ids` (all when empty), in parallel.
struct RpcMessage {
  uint64_t ticket = 0;
  std::string method;
  std::string args_json;
  std::vector<int32_t> stage_ids;
  TimePoint deadline = TimePoint::max();
};
// Adds a replica to a pool, or drains and removes one.
struct ReplicaMessage {
  uint64_t ticket = 0;
  int32_t stage_id = 0;
  std::optional<int32_t> remove;  // replica id; none: add one
};
// A time that next_timer() named has come.
struct TimerMessage {};
// The output queue has room again.
struct OutputRoomMessage {};
// Ends every live and waiting request; the request queue is closed already.
struct ShutdownMessage {
  // Not OK: the engine has failed, and requests end with this error instead of as aborted.
  Status cause;
};
using OrchestratorMessage =
    std::variant<RequestsReadyMessage, UpdateMessage, AbortMessage, RpcMessage, ReplicaMessage,
                 StageEvent, OutputRoomMessage, TimerMessage, ShutdownMessage>;

}  // namespace tutti
