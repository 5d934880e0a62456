// Orchestrator: the state machine that owns the logical progress of every request across the stage
// pools. handle() takes one message, changes state, sends commands and emits outputs; it never
// computes, never blocks, never looks into tensors.
//
// Thread: one (the "orchestrator" thread, or a simulator). Invariants: every request taken from the
// request queue gets exactly one terminal message; chunks of an edge go on in order; stages that no
// wanted output needs are never submitted; a request counts as live until every stage has let go of
// it. Owns request state; borrows queues, pools and clock.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "orchestrator/abort_calls.h"
#include "orchestrator/answer_buffer.h"
#include "orchestrator/messages.h"
#include "orchestrator/output_buffer.h"
#include "orchestrator/replica_life.h"
#include "orchestrator/request_state.h"
#include "orchestrator/rpc_calls.h"
#include "orchestrator/timers.h"
#include "stages/replica_core.h"
#include "stages/stage_graph.h"
#include "stages/stage_pool.h"

namespace tutti {

struct OrchestratorOptions {
  // Downstream stages start with the first chunk; off: with the whole result of their sources.
  bool async_chunk = true;
  // Further requests stay in the request queue, so that its bound is felt by the callers; also
  // while the outputs of so many requests wait for a reader. Sessions that wait for their next
  // segment do not count.
  int64_t max_live_requests = 64;
  // Zero of the times in messages.
  TimePoint epoch = {};
  // How long a request that ends waits for its stages to let go of it.
  Duration abort_timeout = std::chrono::seconds(30);
  // How long a request waits for a replica that is starting.
  Duration replica_wait = std::chrono::seconds(30);
  // How often a request begins again whose replica died before anything was delivered.
  int32_t max_retries = 1;
  // Segments that may wait behind the one being answered, of one resumable request; one more ends
  // it with an error.
  int32_t max_pending_updates = 64;
  // Seconds of audio of one stage of a request, which ends there with kLength; 0: no limit.
  double max_audio_s = 0;
  // Adapters that each replica has room for.
  size_t max_loras = 16;
  // Called when a replica has become ready or dead (with the cause).
  std::function<void(StageId, ReplicaId, ReplicaState, const Status&)> on_replica_state = {};
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

class Orchestrator {
 public:
  Orchestrator(std::shared_ptr<const StageGraph> graph, const StagePools& pools,
               const OrchestratorQueues& queues, const Clock& clock, OrchestratorOptions options);

  void handle(OrchestratorMessage message);
  // When a TimerMessage is due; none: nothing waits for a time.
  std::optional<TimePoint> next_timer() const;
  // After a ShutdownMessage: everything has been said.
  bool stopped() const { return stopped_; }
  size_t live_requests() const { return live_.size(); }
  // Of these, sessions without a place: idle, or waiting to go on.
  size_t resting_sessions() const { return static_cast<size_t>(resting_); }
  size_t waiting_outputs() const { return outputs_.waiting(); }

  // --- read access for invariant checks
  const RequestProgress* find(RequestKey key) const;
  // Control calls under way, answers that wait, early updates, timers: all 0 when nothing happens.
  size_t open_calls() const { return rpc_.size() + abort_calls_.size() + answers_.waiting(); }
  size_t early_updates() const { return early_updates_.size(); }
  size_t timers() const { return timers_.size(); }

 private:
  using State = StageProgress::State;
  struct WaitingSession {
    int32_t priority = 0;
    double since_s = 0;
    RequestKey key;
    auto operator<=>(const WaitingSession&) const = default;
  };
  // A companion is named by its parent and its index there.
  struct Sequence {
    RequestProgress* progress = nullptr;
    int32_t companion = -1;
  };

  void on(RequestsReadyMessage message);
  void on(UpdateMessage message);
  void on(AbortMessage message);
  void on(RpcMessage message);
  void on(ReplicaMessage message);
  void on(TimerMessage message);
  void on(StageEvent event);
  void on(OutputRoomMessage message);
  void on(ShutdownMessage message);
  // Whatever throws in `work` ends the request, when it is still there.
  template <typename Work>
  void guarded(RequestKey key, std::optional<int32_t> stage, const char* what, Work work);

  // --- admission (orchestrator.cc)
  // Takes requests, and lets sessions go on, while there is a place: by priority, then in the order
  // of arrival.
  void admit();
  bool has_place() const;
  void start(std::unique_ptr<AcceptedRequest> request);
  void end_overdue_waiting();
  // Terminal messages of a request that was never live.
  void refuse(const AcceptedRequest& request, const Status& cause);
  Sequence find_sequence(RequestKey key) const;

  // --- the data path (orchestrator_flow.cc). false: the request is ending, or gone.
  void on_outputs(const StageEvent& event, std::vector<StageOutput>& outputs);
  bool on_output(RequestProgress& progress, int32_t stage, StageOutput output);
  void on_companion_output(Sequence sequence, int32_t stage, StageOutput output);
  bool forward(RequestProgress& progress, int32_t from, int32_t segment, UpstreamChunk chunk);
  bool deliver(RequestProgress& progress, int32_t to, int32_t segment, UpstreamChunk chunk);
  void gather_later(RequestProgress& progress, int32_t to, int32_t segment, UpstreamChunk chunk);
  bool report(RequestProgress& progress, int32_t stage, int32_t segment, StageOutput& output,
              bool ends);
  void end_segment(RequestProgress& progress, int32_t stage, bool finished);
  // Ends `stage` at the limit of audio, those behind it and those that work for it alone.
  void cut(RequestProgress& progress, int32_t stage);

  // --- submission (orchestrator_submit.cc). false as above.
  bool submit_entries(RequestProgress& progress);
  bool start_if_ready(RequestProgress& progress, int32_t stage);
  bool submit(RequestProgress& progress, int32_t stage);
  void send_submit(RequestProgress& progress, int32_t stage, ReplicaId replica);
  void send_companions(RequestProgress& progress, int32_t stage, const StageRequest& parent);
  void send_segment(RequestProgress& progress, int32_t stage, int32_t segment);
  StageReplica& replica_of(const RequestProgress& progress, int32_t stage) const;
  void leave_queue(RequestProgress& progress, int32_t stage);
  // Requests that wait for a replica of `stage` look again.
  void serve_waiting(int32_t stage);
  // Nothing will be retried: input that every stage has is not needed any more.
  void drop_inputs(RequestProgress& progress);

  // --- sessions (orchestrator_sessions.cc). false as above.
  // Takes a segment: now, or when the session gets a place again.
  void take(RequestProgress& progress, RequestSegment segment);
  bool extend(RequestProgress& progress, RequestSegment segment);
  // Ends the request when too many segments wait, `open` of them.
  bool check_pending(RequestProgress& progress, int32_t open);
  // How many segments are complete in every stage.
  int32_t segments_done(const RequestProgress& progress) const;
  // Counts them, and gives the place away when nothing is left to do.
  void note_segments(RequestProgress& progress);
  void wait_for_place(RequestProgress& progress, double since_s);
  // Whether the first session that waits comes before the first request of the queue.
  bool session_is_next();
  void go_on(RequestProgress& progress);
  // An entry stage has ended before the input did: what no entry has begun has no answer.
  bool end_early(RequestProgress& progress, int32_t stage);
  // Lets an entry go that has answered the last segment and expects more.
  void end_with_input(RequestProgress& progress, int32_t stage);

  // --- endings (orchestrator_abort.cc)
  void abort(RequestProgress& progress);
  void fail(RequestProgress& progress, std::optional<int32_t> stage, Status error);
  // All wanted outputs have ended and nobody has said so yet.
  void say_finished(RequestProgress& progress);
  // Lets every stage go; goes on to settle() when the last has answered.
  void release(RequestProgress& progress, Ending ending);
  // Aborts what runs in `stage`, or takes it out of the queue.
  void let_go(RequestProgress& progress, int32_t stage);
  // Of the request or of a companion, when it runs there.
  void abort_sequence(RequestProgress& progress, int32_t stage, State& state, RequestKey key);
  // The sequences of `stage` are gone without an answer; whether one was running.
  bool drop_sequences(RequestProgress& progress, int32_t stage);
  void settle(RequestProgress& progress);
  void restart(RequestProgress& progress);
  void emit_aborted(RequestProgress& progress);
  void hold(RequestProgress& progress, int32_t stage, StageOutput output);
  void forget(RequestProgress& progress, const AbortResult* result);
  void on_aborted(const StageEvent& event, AbortedEvent& aborted);
  void unbind(int32_t stage, ReplicaId replica);
  // Sets the timer of the request to the next time that concerns it.
  void set_timer(RequestProgress& progress);
  void on_request_timer(RequestProgress& progress);
  void give_up_release(RequestProgress& progress);

  // --- replicas (orchestrator_replicas.cc)
  void on_ready(const StageEvent& event);
  void on_died(const StageEvent& event, const Status& cause);
  std::vector<RequestKey> bound_to(int32_t stage, ReplicaId replica) const;
  void lose_replica(RequestProgress& progress, int32_t stage, const Status& error);
  void remove_drained();
  // Not OK: a live request needs one of these stages (all when empty), now or later.
  Status check_idle(std::span<const int32_t> stages) const;

  void emit(RequestProgress& progress, EngineMessage message);
  std::vector<RequestKey> sorted_live() const;
  double seconds_now() const { return to_seconds(now_ - options_.epoch); }

  const std::shared_ptr<const StageGraph> graph_;
  const StagePools& pools_;
  RequestQueue& requests_;
  OutputBuffer outputs_;
  AnswerBuffer answers_;
  const Clock& clock_;
  const OrchestratorOptions options_;
  Timers timers_;
  ReplicaLife life_;
  RpcCalls rpc_;
  AbortCalls abort_calls_;
  TimePoint now_;  // of the message being handled
  std::unordered_map<RequestKey, std::unique_ptr<RequestProgress>> live_;
  std::unordered_map<RequestKey, Sequence> companions_;
  // Requests in State::kQueued: by stage, priority, then age.
  std::vector<std::set<std::pair<int32_t, RequestKey>>> waiting_;
  // Sessions that wait for a place, and how many have none: these and the idle ones.
  std::set<WaitingSession> sessions_;
  int64_t resting_ = 0;
  // Segments of requests that are still in the request queue.
  std::unordered_map<RequestKey, std::vector<RequestSegment>> early_updates_;
  TimePoint queue_deadline_ = TimePoint::max();  // the earliest of the requests that wait there
  std::vector<std::pair<int32_t, ReplicaId>> drained_;  // draining replicas without sequences
  bool has_room_ = false;                               // there may be a place for what waits
  bool stopped_ = false;
};

template <typename Work>
void Orchestrator::guarded(RequestKey key, std::optional<int32_t> stage, const char* what,
                           Work work) {
  try {
    work();
  } catch (...) {
    const auto still = live_.find(key);
    if (still != live_.end()) {
      fail(*still->second, stage, status_of_current_exception(what));
    }
  }
}

}  // namespace tutti
