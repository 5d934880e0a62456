// What the orchestrator is told. What it says is tutti/output.h (to callers) and
// stages/stage_client.h (to replicas).
#pragma once

#include <cstdint>
#include <memory>
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

// A request whose input has been processed in the caller's thread: ready to submit.
struct AcceptedRequest {
  RequestKey key;
  std::string request_id;
  StageInput input;                             // of the stages without sources; voice resolved
  std::vector<SamplingParams> sampling_params;  // one per stage
  std::vector<uint64_t> seeds;                  // one per stage
  std::vector<int32_t> final_output_stage_ids;  // wanted outputs, ascending, not empty
  int32_t priority = 0;
};
using RequestQueue = DualQueue<std::unique_ptr<AcceptedRequest>>;
using OutputQueue = DualQueue<EngineMessage>;
// Answers of control methods: apart, so that control traffic never races with outputs.
using RpcOutputQueue = DualQueue<StageEvent>;

// Look into the request queue: something was put in.
struct RequestsReadyMessage {};
struct AbortMessage {
  std::vector<RequestKey> keys;
};
// The output queue has room again.
struct OutputRoomMessage {};
// Ends every live and waiting request; the request queue is closed already.
struct ShutdownMessage {
  // Not OK: the engine has failed, and requests end with this error instead of as aborted.
  Status cause;
};
using OrchestratorMessage = std::variant<RequestsReadyMessage, AbortMessage, StageEvent,
                                         OutputRoomMessage, ShutdownMessage>;

}  // namespace tutti
