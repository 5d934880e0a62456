#include "orchestrator/request_state.h"

#include <algorithm>

namespace tutti {

using State = StageProgress::State;

RequestProgress::RequestProgress(std::unique_ptr<AcceptedRequest> accepted, const StageGraph& graph)
    : request(std::move(accepted)), resumable(!request->segment.last) {
  reset(graph);
}

void RequestProgress::reset(const StageGraph& graph) {
  std::vector<StageProgress> before =
      std::exchange(stages, std::vector<StageProgress>(static_cast<size_t>(graph.size())));
  const std::vector<uint8_t> needed = graph.needed_for(request->final_output_stage_ids);
  for (int32_t s = 0; s < graph.size(); ++s) {
    StageProgress& at = stages[s];
    if (!before.empty()) at.said_metrics = before[s].said_metrics;
    if (!needed[s]) continue;
    at.state = State::kWaiting;
    for (int32_t consumer : graph.consumers(s)) at.feeds_others |= needed[consumer] != 0;
    if (!graph.spec(s).sources.empty()) seek_segment(graph, s);
  }
  for (int32_t s : request->final_output_stage_ids) stages[s].wanted_output = true;
  open_outputs = 0;
  for (int32_t s : request->final_output_stage_ids) {
    open_outputs += stages[s].state != State::kFinished;
  }
  companions.assign(request->companions.size(), CompanionProgress{});
  for (CompanionProgress& companion : companions) {
    companion.stages.assign(stages.size(), State::kNotNeeded);
  }
  ending = Ending::kNone;
  ended_early = false;
  open_acks = 0;
  release_deadline = TimePoint::max();
}

void RequestProgress::end_input(int32_t count) {
  if (count < num_segments()) updates.resize(static_cast<size_t>(count) - 1);
  segment(count - 1).last = true;
}

bool RequestProgress::answers(const StageGraph& graph, int32_t stage, int32_t index) const {
  if (!resumable) return true;
  const std::vector<int32_t>& sources = graph.spec(stage).sources;
  if (sources.empty()) return segment(index).sampling_params[stage].max_tokens != 0;
  return std::any_of(sources.begin(), sources.end(),
                     [&](int32_t source) { return answers(graph, source, index); });
}

int32_t RequestProgress::count_sources(const StageGraph& graph, int32_t stage,
                                       int32_t index) const {
  int32_t count = 0;
  for (int32_t source : graph.spec(stage).sources) {
    if (!answers(graph, source, index)) continue;
    ++count;
    // Companions run beside the first segment.
    if (index == 0 && graph.spec(source).sources.empty()) {
      count += static_cast<int32_t>(request->companions.size());
    }
  }
  return count;
}

void RequestProgress::seek_segment(const StageGraph& graph, int32_t stage) {
  StageProgress& at = stages[stage];
  while (at.segment < num_segments() && !answers(graph, stage, at.segment)) ++at.segment;
  at.gathered.clear();
  if (at.segment >= num_segments()) {
    at.state = input_complete() ? State::kFinished : State::kWaiting;
    at.open_sources = 0;  // nothing can come for a segment that is not known
    return;
  }
  at.state = State::kWaiting;
  at.open_sources = count_sources(graph, stage, at.segment);
  const auto later = std::find_if(at.later.begin(), at.later.end(),
                                  [&](const LaterSegment& l) { return l.segment == at.segment; });
  if (later == at.later.end()) return;
  at.open_sources = later->open_sources;
  at.gathered = std::move(later->gathered);
  at.later.erase(later);
}

int32_t RequestProgress::first_open_output() const {
  for (int32_t s : request->final_output_stage_ids) {
    if (stages[s].state != State::kFinished) return s;
  }
  return request->final_output_stage_ids.front();
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

}  // namespace tutti
