#include "orchestrator/orchestrator.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "stages/replica_core.h"

namespace tutti {
namespace {

bool has_content(const StageOutputDelta& delta) {
  return !delta.text.empty() || !delta.token_ids.empty() || !delta.audio.samples.empty();
}

OutputMessage aborted_message(const AcceptedRequest& request, const StageGraph& graph,
                              int32_t stage) {
  OutputMessage message;
  message.request_id = request.request_id;
  message.stage_id = stage;
  message.output_type = graph.spec(stage).final_output_type;
  message.output.finish_reason = FinishReason::kAbort;
  message.finished = true;
  return message;
}

}  // namespace

Orchestrator::Orchestrator(std::shared_ptr<const StageGraph> graph, const StagePools& pools,
                           const OrchestratorQueues& queues, const Clock& clock,
                           OrchestratorOptions options)
    : graph_(std::move(graph)),
      pools_(pools),
      requests_(queues.requests),
      outputs_(queues.outputs, options.on_message),
      rpc_outputs_(queues.rpc_outputs),
      clock_(clock),
      options_(std::move(options)) {}

void Orchestrator::handle(OrchestratorMessage message) {
  if (stopped_) return;
  std::visit([this](auto& m) { on(std::move(m)); }, message);
}

const RequestProgress* Orchestrator::find(RequestKey key) const {
  const auto found = live_.find(key);
  return found == live_.end() ? nullptr : found->second.get();
}

double Orchestrator::seconds_now() const { return to_seconds(clock_.now() - options_.epoch); }

// --- messages

void Orchestrator::on(RequestsReadyMessage) { admit(); }

void Orchestrator::on(UpdateMessage) {}

void Orchestrator::on(RpcMessage message) {
  rpc_outputs_.try_push(RpcAnswer{message.ticket, unimplemented("No control methods yet."), {}});
}

void Orchestrator::on(ReplicaMessage) {}

void Orchestrator::on(TimerMessage) {}

void Orchestrator::on(AbortMessage message) {
  for (const RequestKey key : message.keys) {
    if (const auto found = live_.find(key); found != live_.end()) {
      end_aborted(*found->second);
    } else if (auto waiting = requests_.extract_if([&](auto& r) { return r->key == key; })) {
      refuse(**waiting, Status());
    }
  }
  admit();
}

void Orchestrator::on(StageEvent event) {
  StageReplica& replica = pools_[event.stage.value]->replica(event.replica);
  if (auto* outputs = std::get_if<OutputsEvent>(&event.body)) {
    on_outputs(event, outputs->outputs);
    admit();
  } else if (std::holds_alternative<RoomEvent>(event.body)) {
    replica.flush();
  } else if (std::holds_alternative<ReadyEvent>(event.body)) {
    replica.set_state(ReplicaState::kReady);
    if (options_.on_replica_state) {
      options_.on_replica_state(event.stage, event.replica, ReplicaState::kReady, Status());
    }
  } else if (const auto* died = std::get_if<DiedEvent>(&event.body)) {
    on_replica_died(event, died->cause);
    admit();
  }
}

void Orchestrator::on(OutputRoomMessage) { outputs_.flush(); }

void Orchestrator::on(ShutdownMessage message) {
  // In the order of acceptance, which is also the order that a simulator can repeat.
  std::vector<RequestKey> keys;
  for (const auto& [key, progress] : live_) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  for (const RequestKey key : keys) {
    RequestProgress& progress = *live_.at(key);
    if (message.cause.ok()) {
      end_aborted(progress);
    } else {
      fail(progress, std::nullopt, message.cause);
    }
  }
  while (auto waiting = requests_.try_pop()) refuse(**waiting, message.cause);
  outputs_.flush_all();
  stopped_ = true;
}

void Orchestrator::on_outputs(const StageEvent& event, std::vector<StageOutput>& outputs) {
  for (StageOutput& output : outputs) {
    const auto found = live_.find(output.key);
    if (found == live_.end()) continue;  // ended meanwhile
    RequestProgress& progress = *found->second;
    const StageProgress& at = progress.stages[event.stage.value];
    if (at.state != State::kRunning || at.replica != event.replica) continue;
    try {
      on_output(progress, event.stage.value, std::move(output));
    } catch (...) {
      if (const auto still = live_.find(output.key); still != live_.end()) {
        fail(*still->second, event.stage.value, status_of_current_exception("Handling an output"));
      }
    }
  }
}

void Orchestrator::on_replica_died(const StageEvent& event, const Status& cause) {
  StagePool& pool = *pools_[event.stage.value];
  pool.replica(event.replica).set_state(ReplicaState::kDead);
  std::vector<RequestKey> bound;
  for (const auto& [key, progress] : live_) {
    const StageProgress& at = progress->stages[event.stage.value];
    if (at.state == State::kRunning && at.replica == event.replica) bound.push_back(key);
  }
  std::sort(bound.begin(), bound.end());
  for (const RequestKey key : bound) {
    fail(*live_.at(key), event.stage.value,
         unavailable(fmt::format("Replica {} of {} has died: {}", event.replica.value,
                                 graph_->describe(event.stage.value), cause.message())));
  }
  if (options_.on_replica_state) {
    options_.on_replica_state(event.stage, event.replica, ReplicaState::kDead, cause);
  }
}

// --- requests

void Orchestrator::admit() {
  while (static_cast<int64_t>(live_.size()) < options_.max_live_requests) {
    auto request = requests_.try_pop();
    if (!request) return;
    start(std::move(*request));
  }
}

void Orchestrator::start(std::unique_ptr<AcceptedRequest> request) {
  const RequestKey key = request->key;
  auto owned = std::make_unique<RequestProgress>(std::move(request), *graph_);
  RequestProgress& progress = *owned;
  live_.emplace(key, std::move(owned));
  for (int32_t stage = 0; stage < graph_->size(); ++stage) {
    const bool entry = graph_->spec(stage).sources.empty();
    if (!entry || progress.stages[stage].state != State::kWaiting) continue;
    if (!submit(progress, stage, /*complete=*/true)) return;
  }
}

bool Orchestrator::on_output(RequestProgress& progress, int32_t stage, StageOutput output) {
  progress.stages[stage].metrics = output.metrics;
  if (!output.error.ok()) {
    // The replica has let go of the sequence already.
    finish_stage(progress, stage);
    fail(progress, stage, std::move(output.error));
    return false;
  }
  if (output.finished) finish_stage(progress, stage);
  if (progress.stages[stage].feeds_others && (output.finished || !output.payload.empty())) {
    if (!forward(progress, stage, std::move(output.payload), output.finished)) return false;
  }
  return report(progress, stage, output);
}

bool Orchestrator::forward(RequestProgress& progress, int32_t from, StagePayload payload,
                           bool last) {
  const std::vector<int32_t>& consumers = graph_->consumers(from);
  int32_t open = 0;
  for (int32_t to : consumers) open += progress.stages[to].state != State::kNotNeeded;
  for (int32_t to : consumers) {
    if (progress.stages[to].state == State::kNotNeeded) continue;
    // The last consumer takes the handles over, the others copy them.
    StagePayload own = --open == 0 ? std::move(payload) : payload;
    if (!deliver(progress, from, to, std::move(own), last)) return false;
  }
  return true;
}

bool Orchestrator::deliver(RequestProgress& progress, int32_t from, int32_t to,
                           StagePayload payload, bool last) {
  StageProgress& down = progress.stages[to];
  if (last) --down.open_sources;
  const bool complete = down.open_sources == 0;
  if (down.state == State::kWaiting) {
    const bool has_data = !payload.empty();
    down.gathered.push_back({from, std::move(payload), last});
    if (complete || (options_.async_chunk && has_data)) return submit(progress, to, complete);
  } else if (down.state == State::kRunning) {
    pools_[to]
        ->replica(down.replica)
        .send(ChunkCommand{progress.request->key, {from, std::move(payload), last}, complete});
  }
  return true;
}

bool Orchestrator::submit(RequestProgress& progress, int32_t stage, bool complete) {
  const AcceptedRequest& accepted = *progress.request;
  StageProgress& at = progress.stages[stage];
  StageReplica* replica = pools_[stage]->pick(&at.replica);
  if (!replica) {
    fail(progress, stage,
         unavailable(fmt::format("There is no live replica of {}.", graph_->describe(stage))));
    return false;
  }
  auto request = std::make_unique<StageRequest>();
  request->key = accepted.key;
  request->request_id = accepted.request_id;
  if (graph_->spec(stage).sources.empty()) request->input = accepted.segment.input;
  request->input.voice = accepted.segment.input.voice;
  request->sampling_params = accepted.segment.sampling_params[stage];
  request->seed = accepted.segment.seeds[stage];
  request->priority = accepted.priority;
  request->streams_payload = options_.async_chunk || at.wanted_output;
  request->wants_payload = at.feeds_others;
  at.state = State::kRunning;
  at.submit_ts = seconds_now();
  replica->bind();
  replica->send(SubmitCommand{std::move(request), std::move(at.gathered), complete});
  at.gathered.clear();
  return true;
}

bool Orchestrator::report(RequestProgress& progress, int32_t stage, StageOutput& output) {
  const StageProgress& at = progress.stages[stage];
  const AcceptedRequest& request = *progress.request;
  if (!at.wanted_output) {
    if (output.finished) {
      outputs_.emit(request.key,
                    StageMetricsMessage{request.request_id, stage, at.replica.value, at.metrics});
    }
    return true;
  }
  if (!output.finished && !has_content(output.delta)) return true;
  OutputMessage message;
  message.request_id = request.request_id;
  message.stage_id = stage;
  message.replica_id = at.replica.value;
  message.output_type = graph_->spec(stage).final_output_type;
  message.output = std::move(output.delta);
  message.metrics = at.metrics;
  message.stage_submit_ts = at.submit_ts;
  message.finished = output.finished && progress.open_outputs == 0;
  const bool terminal = message.finished;
  outputs_.emit(request.key, std::move(message));
  if (terminal) release(progress);
  return !terminal;
}

void Orchestrator::finish_stage(RequestProgress& progress, int32_t stage) {
  StageProgress& at = progress.stages[stage];
  at.state = State::kFinished;
  pools_[stage]->replica(at.replica).release();
  if (at.wanted_output) --progress.open_outputs;
}

void Orchestrator::fail(RequestProgress& progress, std::optional<int32_t> stage, Status error) {
  outputs_.emit(progress.request->key,
                ErrorMessage{progress.request->request_id, stage, std::move(error), false});
  release(progress);
}

void Orchestrator::end_aborted(RequestProgress& progress) {
  const int32_t stage = progress.first_open_output();
  OutputMessage message = aborted_message(*progress.request, *graph_, stage);
  message.replica_id = progress.stages[stage].replica.value;
  message.metrics = progress.stages[stage].metrics;
  message.stage_submit_ts = progress.stages[stage].submit_ts;
  outputs_.emit(progress.request->key, std::move(message));
  release(progress);
}

void Orchestrator::release(RequestProgress& progress) {
  const RequestKey key = progress.request->key;
  for (int32_t stage = 0; stage < graph_->size(); ++stage) {
    const StageProgress& at = progress.stages[stage];
    if (at.state != State::kRunning) continue;
    StageReplica& replica = pools_[stage]->replica(at.replica);
    replica.release();
    replica.send(AbortCommand{key});
  }
  live_.erase(key);
}

void Orchestrator::refuse(const AcceptedRequest& request, const Status& cause) {
  if (cause.ok()) {
    outputs_.emit(request.key,
                  aborted_message(request, *graph_, request.final_output_stage_ids.front()));
  } else {
    outputs_.emit(request.key, ErrorMessage{request.request_id, std::nullopt, cause, false});
  }
}

}  // namespace tutti
