// Orchestrator: how requests end. Every stage lets go of its sequence, and answers; then the
// request is forgotten.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "orchestrator/orchestrator.h"

namespace tutti {

void Orchestrator::on(AbortMessage message) {
  // A key may stand there twice.
  std::vector<RequestKey> keys;
  for (const RequestKey key : message.keys) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  }
  const auto waits = [](RequestKey key) {
    return [key](const auto& request) { return request->key == key; };
  };
  std::vector<std::unique_ptr<AcceptedRequest>> waiting(keys.size());
  size_t known = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (!live_.contains(keys[i])) {
      if (auto request = requests_.extract_if(waits(keys[i]))) waiting[i] = std::move(*request);
    }
    known += waiting[i] || live_.contains(keys[i]);
  }
  if (message.ticket != 0) abort_calls_.open(message.ticket, known);
  size_t index = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (waiting[i]) {
      const AbortResult result{
          waiting[i]->request_id,
          aborted_message(*waiting[i], *graph_, waiting[i]->final_output_stage_ids.front())};
      refuse(*waiting[i], Status());
      if (message.ticket != 0) abort_calls_.end(message.ticket, index++, &result);
    } else if (const auto found = live_.find(keys[i]); found != live_.end()) {
      if (message.ticket != 0) found->second->aborts.push_back({message.ticket, index++});
      guarded(keys[i], std::nullopt, "Aborting a request", [&] { abort(*found->second); });
    }
  }
}

void Orchestrator::abort(RequestProgress& progress) {
  if (progress.ending == Ending::kNone) {
    release(progress, Ending::kAborted);
  } else if (progress.ending == Ending::kRetried) {
    progress.terminal_stage = progress.request->final_output_stage_ids.front();
    progress.ending = Ending::kAborted;
    set_timer(progress);
  }
}

void Orchestrator::fail(RequestProgress& progress, std::optional<int32_t> stage, Status error) {
  if (progress.ending == Ending::kSaid || progress.ending == Ending::kAborted) return;
  emit(progress, ErrorMessage{progress.request->request_id, stage, std::move(error), false});
  if (progress.ending == Ending::kNone) return release(progress, Ending::kSaid);
  progress.ending = Ending::kSaid;
  set_timer(progress);
}

void Orchestrator::say_finished(RequestProgress& progress) {
  const AcceptedRequest& request = *progress.request;
  OutputMessage message = aborted_message(request, *graph_, request.final_output_stage_ids.back());
  const StageProgress& at = progress.stages[message.stage_id];
  message.replica_id = at.replica.value;
  message.metrics = at.metrics;
  message.stage_submit_ts = at.submit_ts;
  message.segment = progress.num_segments() - 1;
  message.output.finish_reason = FinishReason::kStop;
  emit(progress, std::move(message));
  release(progress, Ending::kSaid);
}

void Orchestrator::release(RequestProgress& progress, Ending ending) {
  progress.ending = ending;
  progress.terminal_stage = progress.first_open_output();
  for (int32_t s = 0; s < graph_->size(); ++s) let_go(progress, s);
  if (progress.open_acks == 0) return settle(progress);
  progress.release_deadline = now_ + options_.abort_timeout;
  set_timer(progress);
}

void Orchestrator::let_go(RequestProgress& progress, int32_t stage) {
  StageProgress& at = progress.stages[stage];
  leave_queue(progress, stage);
  if (at.state == State::kWaiting) at.state = State::kFinished;
  abort_sequence(progress, stage, at.state, progress.request->key);
  for (size_t i = 0; i < progress.companions.size(); ++i) {
    abort_sequence(progress, stage, progress.companions[i].stages[stage],
                   progress.request->companions[i].key);
  }
}

void Orchestrator::abort_sequence(RequestProgress& progress, int32_t stage, State& state,
                                  RequestKey key) {
  if (state != State::kRunning) return;
  state = State::kReleasing;
  ++progress.open_acks;
  replica_of(progress, stage).send(AbortCommand{key});
}

bool Orchestrator::drop_sequences(RequestProgress& progress, int32_t stage) {
  bool was_running = false;
  const auto drop = [&](State& state) {
    if (state != State::kRunning && state != State::kReleasing) return;
    was_running |= state == State::kRunning;
    progress.open_acks -= state == State::kReleasing;
    state = State::kFinished;
    unbind(stage, progress.stages[stage].replica);
  };
  drop(progress.stages[stage].state);
  for (CompanionProgress& companion : progress.companions) drop(companion.stages[stage]);
  return was_running;
}

void Orchestrator::settle(RequestProgress& progress) {
  switch (progress.ending) {
    case Ending::kNone:
      return;
    case Ending::kAborted:
      return emit_aborted(progress);
    case Ending::kSaid:
      return forget(progress, nullptr);
    case Ending::kRetried:
      return restart(progress);
  }
}

void Orchestrator::restart(RequestProgress& progress) {
  progress.reset(*graph_);
  set_timer(progress);
  if (progress.place == Place::kHeld) {
    submit_entries(progress);
  } else if (progress.place == Place::kIdle) {
    wait_for_place(progress, seconds_now());
  }
}

void Orchestrator::emit_aborted(RequestProgress& progress) {
  const int32_t stage = progress.terminal_stage;
  for (StageProgress& at : progress.stages) {
    if (at.held && at.held->stage_id != stage) emit(progress, std::move(*at.held));
  }
  StageProgress& at = progress.stages[stage];
  OutputMessage message = aborted_message(*progress.request, *graph_, stage);
  message.replica_id = at.replica.value;
  message.metrics = at.metrics;
  message.stage_submit_ts = at.submit_ts;
  message.segment = std::min(at.segment, progress.num_segments() - 1);
  if (at.held) {
    message.output = std::move(at.held->output);
    message.output.finish_reason = FinishReason::kAbort;
  }
  if (progress.aborts.empty()) {
    emit(progress, std::move(message));
    return forget(progress, nullptr);
  }
  const AbortResult result{progress.request->request_id, message};
  emit(progress, std::move(message));
  forget(progress, &result);
}

void Orchestrator::hold(RequestProgress& progress, int32_t stage, StageOutput output) {
  StageProgress& at = progress.stages[stage];
  const StageOutputDelta& delta = output.delta;
  const bool empty = delta.text.empty() && delta.token_ids.empty() && delta.audio.samples.empty();
  if (!at.wanted_output || at.was_cut || empty) return;
  OutputMessage message = aborted_message(*progress.request, *graph_, stage);
  message.finished = false;
  message.replica_id = at.replica.value;
  message.segment = at.segment;
  message.stage_submit_ts = at.submit_ts;
  message.output = std::move(output.delta);
  message.output.finish_reason = FinishReason::kAbort;
  if (at.held) {
    merge_output(*at.held, std::move(message));
  } else {
    at.held = std::make_unique<OutputMessage>(std::move(message));
  }
}

void Orchestrator::forget(RequestProgress& progress, const AbortResult* result) {
  const RequestKey key = progress.request->key;
  for (const AbortWaiter& waiter : progress.aborts) {
    abort_calls_.end(waiter.ticket, waiter.index, result);
  }
  if (progress.timer != TimePoint::max()) {
    timers_.clear({progress.timer, TimerKind::kRequest, key.value});
  }
  for (const CompanionRequest& companion : progress.request->companions) {
    companions_.erase(companion.key);
  }
  if (progress.place != Place::kHeld) --resting_;
  sessions_.erase({progress.request->priority, progress.waits_since_s, key});
  has_room_ = true;
  live_.erase(key);
}

void Orchestrator::on_aborted(const StageEvent& event, AbortedEvent& aborted) {
  const int32_t stage = event.stage.value;
  const Sequence sequence = find_sequence(aborted.key);
  if (!sequence.progress) return;
  RequestProgress& progress = *sequence.progress;
  StageProgress& at = progress.stages[stage];
  const bool main = sequence.companion < 0;
  State& state = main ? at.state : progress.companions[sequence.companion].stages[stage];
  if (at.replica != event.replica || state != State::kReleasing) return;
  guarded(progress.request->key, stage, "Ending a request", [&] {
    if (main && progress.ending == Ending::kAborted) hold(progress, stage, std::move(aborted.held));
    state = State::kFinished;
    unbind(stage, at.replica);
    --progress.open_acks;
    note_segments(progress);
    if (progress.open_acks == 0) settle(progress);
  });
}

void Orchestrator::unbind(int32_t stage, ReplicaId replica) {
  StageReplica& slot = pools_[stage]->replica(replica);
  slot.release();
  if (slot.drains() && slot.outstanding() == 0) drained_.emplace_back(stage, replica);
}

// --- times

void Orchestrator::set_timer(RequestProgress& progress) {
  TimePoint next = progress.release_deadline;
  const bool open = progress.ending == Ending::kNone || progress.ending == Ending::kRetried;
  if (open) next = std::min(next, progress.request->deadline);
  for (const StageProgress& at : progress.stages) next = std::min(next, at.wait_until);
  if (next == progress.timer) return;
  const uint64_t id = progress.request->key.value;
  if (progress.timer != TimePoint::max()) timers_.clear({progress.timer, TimerKind::kRequest, id});
  if (next != TimePoint::max()) timers_.set({next, TimerKind::kRequest, id});
  progress.timer = next;
}

void Orchestrator::on_request_timer(RequestProgress& progress) {
  progress.timer = TimePoint::max();  // it has been taken
  if (progress.release_deadline <= now_) return give_up_release(progress);
  const bool open = progress.ending == Ending::kNone || progress.ending == Ending::kRetried;
  if (open && progress.request->deadline <= now_) {
    return fail(
        progress, std::nullopt,
        deadline_exceeded(fmt::format("The request has taken longer than its limit of {:g} s.",
                                      progress.request->timeout_s)));
  }
  for (int32_t s = 0; s < graph_->size(); ++s) {
    if (progress.stages[s].wait_until > now_) continue;
    return fail(progress, s,
                unavailable(fmt::format("No replica of {} has become ready within {} s.",
                                        graph_->describe(s), to_seconds(options_.replica_wait))));
  }
  set_timer(progress);
}

void Orchestrator::give_up_release(RequestProgress& progress) {
  spdlog::warn("request '{}': {} abort(s) were not acknowledged within {} s",
               progress.request->request_id, progress.open_acks,
               to_seconds(options_.abort_timeout));
  if (progress.ending == Ending::kRetried) {
    fail(progress, std::nullopt,
         unavailable("A replica died and the others did not let go of the request in time."));
  }
  for (int32_t s = 0; s < graph_->size(); ++s) drop_sequences(progress, s);
  settle(progress);
}

}  // namespace tutti
