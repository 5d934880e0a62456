// Orchestrator: the state machine that owns the logical progress of every request across the stage
// pools. handle() takes one message, changes state, sends commands and emits outputs; it never
// computes, never blocks, never looks into tensors.
//
// Thread: one (the "orchestrator" thread, or a simulator). Invariants: every request taken from the
// request queue gets exactly one terminal message; chunks of an edge go on in order; stages that no
// wanted output needs are never submitted. Owns request state; borrows queues, pools and clock.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "orchestrator/messages.h"
#include "orchestrator/output_buffer.h"
#include "orchestrator/request_state.h"
#include "stages/stage_graph.h"
#include "stages/stage_pool.h"

namespace tutti {

struct OrchestratorOptions {
  // Downstream stages start with the first chunk; off: with the whole result of their sources.
  bool async_chunk = true;
  // Further requests stay in the request queue, so that its bound is felt by the callers.
  int64_t max_live_requests = 64;
  // Zero of the times in messages.
  TimePoint epoch;
  // Called when a replica has become ready or dead (with the cause).
  std::function<void(StageId, ReplicaId, ReplicaState, const Status&)> on_replica_state;
  // Called when a request is begun again after its replica died.
  std::function<void(RequestKey)> on_retry = {};
  // Called with every message of a request as it is emitted, before it may be merged; for counters
  // and timelines.
  std::function<void(RequestKey, const EngineMessage&)> on_message = {};
};

struct OrchestratorQueues {
  RequestQueue& requests;
  OutputQueue& outputs;
  RpcOutputQueue& rpc_outputs;
};

using StagePools = std::vector<std::unique_ptr<StagePool>>;

class Orchestrator {
 public:
  Orchestrator(std::shared_ptr<const StageGraph> graph, const StagePools& pools,
               const OrchestratorQueues& queues, const Clock& clock, OrchestratorOptions options);

  void handle(OrchestratorMessage message);
  // After a ShutdownMessage: everything has been said.
  bool stopped() const { return stopped_; }
  size_t live_requests() const { return live_.size(); }
  size_t waiting_outputs() const { return outputs_.waiting(); }
  // Read access for invariant checks.
  const RequestProgress* find(RequestKey key) const;

 private:
  using State = StageProgress::State;

  void on(RequestsReadyMessage message);
  void on(UpdateMessage message);
  void on(AbortMessage message);
  void on(RpcMessage message);
  void on(ReplicaMessage message);
  void on(TimerMessage message);
  void on(StageEvent event);
  void on(OutputRoomMessage message);
  void on(ShutdownMessage message);
  void on_outputs(const StageEvent& event, std::vector<StageOutput>& outputs);
  void on_replica_died(const StageEvent& event, const Status& cause);

  // Takes requests while there is room for live ones.
  void admit();
  void start(std::unique_ptr<AcceptedRequest> request);
  // These may end the request: false then, and `progress` is gone.
  bool on_output(RequestProgress& progress, int32_t stage, StageOutput output);
  bool forward(RequestProgress& progress, int32_t from, StagePayload payload, bool last);
  bool deliver(RequestProgress& progress, int32_t from, int32_t to, StagePayload payload,
               bool last);
  bool submit(RequestProgress& progress, int32_t stage, bool complete);
  bool report(RequestProgress& progress, int32_t stage, StageOutput& output);

  void finish_stage(RequestProgress& progress, int32_t stage);
  void fail(RequestProgress& progress, std::optional<int32_t> stage, Status error);
  void end_aborted(RequestProgress& progress);
  // Lets go of the request in every stage and forgets it.
  void release(RequestProgress& progress);
  // Terminal messages of a request that was never live.
  void refuse(const AcceptedRequest& request, const Status& cause);
  double seconds_now() const;

  const std::shared_ptr<const StageGraph> graph_;
  const StagePools& pools_;
  RequestQueue& requests_;
  OutputBuffer outputs_;
  RpcOutputQueue& rpc_outputs_;
  const Clock& clock_;
  const OrchestratorOptions options_;
  std::unordered_map<RequestKey, std::unique_ptr<RequestProgress>> live_;
  bool stopped_ = false;
};

}  // namespace tutti
