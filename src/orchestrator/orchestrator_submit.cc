// Orchestrator: how sequences begin in the stages and get more input.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "orchestrator/orchestrator.h"

namespace tutti {

StageReplica& Orchestrator::replica_of(const RequestProgress& progress, int32_t stage) const {
  return pools_[stage]->replica(progress.stages[stage].replica);
}

bool Orchestrator::submit_entries(RequestProgress& progress) {
  for (int32_t stage = 0; stage < graph_->size(); ++stage) {
    const bool entry = graph_->spec(stage).sources.empty();
    if (!entry || progress.stages[stage].state != State::kWaiting) continue;
    if (!submit(progress, stage)) return false;
  }
  return true;
}

bool Orchestrator::start_if_ready(RequestProgress& progress, int32_t stage) {
  const StageProgress& at = progress.stages[stage];
  if (at.state != State::kWaiting || at.gathered.empty()) return true;
  const bool has_data = std::any_of(at.gathered.begin(), at.gathered.end(),
                                    [](const UpstreamChunk& c) { return !c.payload.empty(); });
  const bool complete = at.open_sources == 0;
  return !complete && !(options_.async_chunk && has_data) ? true : submit(progress, stage);
}

bool Orchestrator::submit(RequestProgress& progress, int32_t stage) {
  const AcceptedRequest& accepted = *progress.request;
  StageProgress& at = progress.stages[stage];
  ReplicaId replica;
  const Route route{accepted.data_parallel_rank, accepted.route_hash};
  switch (pools_[stage]->route(route, &replica)) {
    case RouteResult::kReady:
      leave_queue(progress, stage);
      send_submit(progress, stage, replica);
      return true;
    case RouteResult::kWait:
      if (at.state == State::kQueued) return true;
      at.state = State::kQueued;
      at.wait_until = now_ + options_.replica_wait;
      waiting_[stage].emplace(accepted.priority, accepted.key);
      set_timer(progress);
      return true;
    case RouteResult::kNone:
      break;
  }
  const std::string which =
      route.rank ? fmt::format("live replica {}", *route.rank) : std::string("live replica");
  fail(progress, stage,
       unavailable(fmt::format("There is no {} of {}.", which, graph_->describe(stage))));
  return false;
}

void Orchestrator::send_submit(RequestProgress& progress, int32_t stage, ReplicaId replica) {
  const AcceptedRequest& accepted = *progress.request;
  StageProgress& at = progress.stages[stage];
  const bool entry = graph_->spec(stage).sources.empty();
  const RequestSegment& segment = progress.segment(at.segment);
  auto request = std::make_unique<StageRequest>();
  request->key = accepted.key;
  request->request_id = accepted.request_id;
  if (entry) {
    request->input = segment.input;
    request->input.resumable = !segment.last;
  }
  request->input.voice = accepted.segment.input.voice;
  request->sampling_params = segment.sampling_params[stage];
  request->seed = segment.seeds[stage];
  request->priority = accepted.priority;
  request->streams_payload = options_.async_chunk || at.wanted_output;
  request->wants_payload = at.feeds_others;
  request->lora_name = accepted.lora_name;
  request->lora_path = accepted.lora_path;
  request->reasoning_ended = accepted.reasoning_ended;
  request->segment = at.segment;
  at.state = State::kRunning;
  at.replica = replica;
  at.submit_ts = seconds_now();
  StageReplica& to = pools_[stage]->replica(replica);
  std::unique_ptr<StageRequest> pattern;
  if (entry && at.feeds_others && !progress.companions.empty()) {
    pattern = std::make_unique<StageRequest>(*request);
  }
  to.bind();
  to.send(SubmitCommand{std::move(request), std::exchange(at.gathered, {}),
                        entry || at.open_sources == 0});
  if (pattern) send_companions(progress, stage, *pattern);
  for (int32_t i = 1; entry && i < progress.num_segments(); ++i) send_segment(progress, stage, i);
  if (entry && progress.delivered) drop_inputs(progress);
}

void Orchestrator::send_companions(RequestProgress& progress, int32_t stage,
                                   const StageRequest& parent) {
  StageReplica& to = replica_of(progress, stage);
  for (size_t i = 0; i < progress.companions.size(); ++i) {
    const CompanionRequest& companion = progress.request->companions[i];
    auto request = std::make_unique<StageRequest>(parent);
    request->key = companion.key;
    request->input = companion.input;
    request->input.voice = parent.input.voice;
    progress.companions[i].stages[stage] = State::kRunning;
    to.bind();
    to.send(SubmitCommand{std::move(request), {}, true});
  }
}

void Orchestrator::send_segment(RequestProgress& progress, int32_t stage, int32_t index) {
  const RequestSegment& segment = progress.segment(index);
  StageSegment command{.key = progress.request->key,
                       .input = segment.input,
                       .sampling_params = segment.sampling_params[stage],
                       .seed = segment.seeds[stage],
                       .segment = index};
  command.input.resumable = !segment.last;
  command.input.voice = progress.request->segment.input.voice;
  replica_of(progress, stage).send(SegmentCommand{std::move(command)});
}

void Orchestrator::leave_queue(RequestProgress& progress, int32_t stage) {
  StageProgress& at = progress.stages[stage];
  if (at.state != State::kQueued) return;
  waiting_[stage].erase({progress.request->priority, progress.request->key});
  at.state = State::kWaiting;
  at.wait_until = TimePoint::max();
  set_timer(progress);
}

void Orchestrator::serve_waiting(int32_t stage) {
  const std::vector<std::pair<int32_t, RequestKey>> waiting(waiting_[stage].begin(),
                                                            waiting_[stage].end());
  for (const auto& [priority, key] : waiting) {
    const auto found = live_.find(key);
    if (found == live_.end()) continue;
    guarded(key, stage, "Submitting a request", [&] { submit(*found->second, stage); });
  }
}

void Orchestrator::drop_inputs(RequestProgress& progress) {
  for (int32_t s = 0; s < graph_->size(); ++s) {
    const State state = progress.stages[s].state;
    const bool entry = graph_->spec(s).sources.empty();
    if (entry && (state == State::kWaiting || state == State::kQueued)) return;
  }
  for (int32_t i = 0; i < progress.num_segments(); ++i) progress.segment(i).input.payload = {};
  for (CompanionRequest& companion : progress.request->companions) companion.input.payload = {};
}

}  // namespace tutti
