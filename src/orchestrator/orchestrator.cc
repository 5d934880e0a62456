#include "orchestrator/orchestrator.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tutti {

Orchestrator::Orchestrator(std::shared_ptr<const StageGraph> graph, const StagePools& pools,
                           const OrchestratorQueues& queues, const Clock& clock,
                           OrchestratorOptions options)
    : graph_(std::move(graph)),
      pools_(pools),
      requests_(queues.requests),
      outputs_(queues.outputs, options.on_message),
      answers_(queues.rpc_outputs),
      clock_(clock),
      options_(std::move(options)),
      life_(*graph_, pools_, answers_, timers_, clock_),
      rpc_(*graph_, pools_, answers_, timers_, options_.max_loras),
      abort_calls_(answers_),
      now_(clock_.now()),
      waiting_(static_cast<size_t>(graph_->size())) {}

void Orchestrator::handle(OrchestratorMessage message) {
  if (stopped_) return;
  now_ = clock_.now();
  std::visit([this](auto& m) { on(std::move(m)); }, message);
  if (!drained_.empty()) remove_drained();
  if (std::exchange(has_room_, false) && !stopped_) admit();
}

const RequestProgress* Orchestrator::find(RequestKey key) const {
  const auto found = live_.find(key);
  return found == live_.end() ? nullptr : found->second.get();
}

Orchestrator::Sequence Orchestrator::find_sequence(RequestKey key) const {
  if (const auto found = live_.find(key); found != live_.end()) return {found->second.get(), -1};
  if (companions_.empty()) return {};
  const auto companion = companions_.find(key);
  return companion == companions_.end() ? Sequence{} : companion->second;
}

std::vector<RequestKey> Orchestrator::sorted_live() const {
  // In the order of acceptance, which is also the order that a simulator can repeat.
  std::vector<RequestKey> keys;
  keys.reserve(live_.size());
  for (const auto& [key, progress] : live_) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  return keys;
}

void Orchestrator::emit(RequestProgress& progress, EngineMessage message) {
  outputs_.emit(progress.request->key, std::move(message));
}

std::optional<TimePoint> Orchestrator::next_timer() const {
  if (stopped_) return std::nullopt;
  const TimePoint next = std::min(timers_.next().value_or(TimePoint::max()), queue_deadline_);
  if (next == TimePoint::max()) return std::nullopt;
  return next;
}

// --- messages

void Orchestrator::on(RequestsReadyMessage) { has_room_ = true; }

void Orchestrator::on(RpcMessage message) {
  if (message.method == "sleep") {
    if (Status busy = check_idle(message.stage_ids); !busy.ok()) {
      return answers_.emit(RpcAnswer{message.ticket, std::move(busy), {}});
    }
  }
  rpc_.call(std::move(message));
}

void Orchestrator::on(OutputRoomMessage) {
  outputs_.flush();
  has_room_ = true;  // readers who are behind keep requests out
  answers_.flush();
}

void Orchestrator::on(TimerMessage) {
  while (const std::optional<Timer> due = timers_.pop_due(now_)) {
    if (due->kind == TimerKind::kRpc) {
      rpc_.deadline_passed(due->id);
    } else if (due->kind == TimerKind::kReplica) {
      life_.restart(due->id);
      // A start that failed at once has set the next timer; whoever waits goes on waiting.
    } else if (const auto found = live_.find(RequestKey(due->id)); found != live_.end()) {
      guarded(RequestKey(due->id), std::nullopt, "Ending a request",
              [&] { on_request_timer(*found->second); });
    }
  }
  if (queue_deadline_ <= now_) has_room_ = true;  // admission ends those whose time is over
}

void Orchestrator::on(UpdateMessage message) {
  const RequestKey key = message.key;
  if (const auto found = live_.find(key); found != live_.end()) {
    guarded(key, std::nullopt, "Taking an update",
            [&] { take(*found->second, std::move(message.segment)); });
    return;
  }
  bool waits = false;
  requests_.watch([&](const auto& request) { waits |= request->key == key; });
  if (!waits) return;
  // One too many is kept, so that the request ends with an error when it starts.
  std::vector<RequestSegment>& early = early_updates_[key];
  if (static_cast<int32_t>(early.size()) <= options_.max_pending_updates) {
    early.push_back(std::move(message.segment));
  }
}

void Orchestrator::on(ShutdownMessage message) {
  const Status cause =
      message.cause.ok() ? unavailable("The engine is shutting down.") : message.cause;
  for (const RequestKey key : sorted_live()) {
    RequestProgress& progress = *live_.at(key);
    const bool open = progress.ending != Ending::kSaid;
    if (progress.ending == Ending::kNone) progress.terminal_stage = progress.first_open_output();
    // The stages end now too: nobody waits for their answers.
    for (int32_t s = 0; s < graph_->size(); ++s) {
      leave_queue(progress, s);
      drop_sequences(progress, s);
    }
    if (!open) {
      forget(progress, nullptr);
    } else if (message.cause.ok()) {
      emit_aborted(progress);
    } else {
      emit(progress,
           ErrorMessage{progress.request->request_id, std::nullopt, message.cause, false});
      forget(progress, nullptr);
    }
  }
  while (auto waiting = requests_.try_pop()) refuse(**waiting, message.cause);
  rpc_.end_all(cause);
  abort_calls_.end_all();
  life_.end_all(cause);
  outputs_.flush_all();
  answers_.flush_all();
  stopped_ = true;
}

// --- admission

bool Orchestrator::has_place() const {
  const int64_t most = options_.max_live_requests;
  return static_cast<int64_t>(live_.size()) - resting_ < most &&
         static_cast<int64_t>(outputs_.waiting_requests()) < most;
}

void Orchestrator::admit() {
  while (has_place()) {
    if (session_is_next()) {
      go_on(*live_.at(sessions_.begin()->key));
      continue;
    }
    auto request = requests_.try_pop_best(
        [](const auto& a, const auto& b) { return a->priority < b->priority; });
    if (!request) {
      queue_deadline_ = TimePoint::max();
      return;
    }
    start(std::move(*request));
  }
  // Others wait: their deadlines count, also of those that will join them.
  for (;;) {
    queue_deadline_ = TimePoint::max();
    requests_.watch([&](const auto& request) {
      queue_deadline_ = std::min(queue_deadline_, request->deadline);
    });
    if (queue_deadline_ > now_) return;
    end_overdue_waiting();
  }
}

void Orchestrator::start(std::unique_ptr<AcceptedRequest> request) {
  const RequestKey key = request->key;
  auto owned = std::make_unique<RequestProgress>(std::move(request), *graph_);
  RequestProgress& progress = *owned;
  live_.emplace(key, std::move(owned));
  auto early = early_updates_.extract(key);
  guarded(key, std::nullopt, "Starting the request", [&] {
    for (size_t i = 0; i < progress.request->companions.size(); ++i) {
      companions_.emplace(progress.request->companions[i].key,
                          Sequence{&progress, static_cast<int32_t>(i)});
    }
    if (progress.request->deadline <= now_) {
      return fail(progress, std::nullopt,
                  deadline_exceeded("The request's time was over before it began."));
    }
    set_timer(progress);
    if (!submit_entries(progress)) return;
    if (early.empty()) return;
    for (RequestSegment& segment : early.mapped()) {
      if (!extend(progress, std::move(segment))) return;
    }
  });
}

void Orchestrator::end_overdue_waiting() {
  const auto overdue = [&](const auto& request) { return request->deadline <= now_; };
  while (auto request = requests_.extract_if(overdue)) {
    refuse(**request, deadline_exceeded("The request's time was over while it waited."));
  }
}

void Orchestrator::refuse(const AcceptedRequest& request, const Status& cause) {
  early_updates_.erase(request.key);
  if (!cause.ok()) {
    outputs_.emit(request.key, ErrorMessage{request.request_id, std::nullopt, cause, false});
    return;
  }
  outputs_.emit(request.key,
                aborted_message(request, *graph_, request.final_output_stage_ids.front()));
}

}  // namespace tutti
