// Orchestrator: what the stages put out goes on to the next stages and to the caller.
#include <algorithm>
#include <iterator>
#include <utility>

#include "orchestrator/orchestrator.h"

namespace tutti {
namespace {

bool has_content(const StageOutputDelta& delta) {
  return !delta.text.empty() || !delta.token_ids.empty() || !delta.audio.samples.empty();
}

}  // namespace

void Orchestrator::on_outputs(const StageEvent& event, std::vector<StageOutput>& outputs) {
  const int32_t stage = event.stage.value;
  for (StageOutput& output : outputs) {
    const Sequence sequence = find_sequence(output.key);
    if (!sequence.progress) continue;  // ended meanwhile
    RequestProgress& progress = *sequence.progress;
    const RequestKey key = progress.request->key;
    StageProgress& at = progress.stages[stage];
    if (at.replica != event.replica) continue;
    guarded(key, stage, "Handling an output", [&] {
      if (sequence.companion >= 0) {
        on_companion_output(sequence, stage, std::move(output));
      } else if (at.state == State::kRunning) {
        on_output(progress, stage, std::move(output));
      } else if (at.state == State::kReleasing && progress.ending == Ending::kAborted) {
        hold(progress, stage, std::move(output));
      }
    });
  }
}

bool Orchestrator::on_output(RequestProgress& progress, int32_t stage, StageOutput output) {
  StageProgress& at = progress.stages[stage];
  at.metrics = output.metrics;
  if (!output.error.ok()) {
    // The replica has let go of the sequence already.
    unbind(stage, at.replica);
    at.state = State::kFinished;
    fail(progress, stage, std::move(output.error));
    return false;
  }
  at.tokens_out += std::ssize(output.delta.token_ids);
  const int32_t segment = at.segment;
  const bool entry = graph_->spec(stage).sources.empty();
  const bool ends = output.finished || (entry && output.segment_finished);
  if (!output.delta.audio.samples.empty()) {
    at.playback.add(seconds_now(), output.delta.audio.samples, output.delta.audio.sample_rate);
  }
  if (at.playback.audio_s() > 0) at.playback.report(at.metrics);
  const bool answers = progress.answers(*graph_, stage, segment);
  if (ends) end_segment(progress, stage, output.finished);
  if (at.feeds_others && answers && (ends || !output.payload.empty())) {
    if (!forward(progress, stage, segment, {stage, std::move(output.payload), ends, {}, now_})) {
      return false;
    }
  }
  // It may have ended before its input did: with a full context.
  const bool over = entry && output.finished && progress.resumable;
  if (over && !end_early(progress, stage)) return false;
  if (ends) note_segments(progress);
  if (!report(progress, stage, segment, output, ends)) return false;
  if (progress.open_outputs == 0) {
    say_finished(progress);
    return false;
  }
  return !ends || entry || start_if_ready(progress, stage);
}

void Orchestrator::on_companion_output(Sequence sequence, int32_t stage, StageOutput output) {
  RequestProgress& progress = *sequence.progress;
  State& state = progress.companions[sequence.companion].stages[stage];
  if (state != State::kRunning) return;
  const bool ends = output.finished || output.segment_finished;
  if (output.finished) {
    state = State::kFinished;
    unbind(stage, progress.stages[stage].replica);
  }
  if (!output.error.ok()) return fail(progress, stage, std::move(output.error));
  if (!progress.answers(*graph_, stage, 0) || (!ends && output.payload.empty())) return;
  const std::string& role = progress.request->companions[sequence.companion].role;
  forward(progress, stage, 0, {stage, std::move(output.payload), ends, role, now_});
}

void Orchestrator::end_segment(RequestProgress& progress, int32_t stage, bool finished) {
  StageProgress& at = progress.stages[stage];
  ++at.segment;
  at.playback.begin_answer();
  const auto close_output = [&](StageProgress& output) {
    if (output.wanted_output) --progress.open_outputs;
  };
  if (!graph_->spec(stage).sources.empty()) {
    unbind(stage, at.replica);
    progress.seek_segment(*graph_, stage);
    if (at.state == State::kFinished) close_output(at);
    return;
  }
  if (!finished) {
    if (progress.ended_early) end_with_input(progress, stage);
    return;
  }
  unbind(stage, at.replica);
  at.state = State::kFinished;
  close_output(at);
}

bool Orchestrator::forward(RequestProgress& progress, int32_t from, int32_t segment,
                           UpstreamChunk chunk) {
  const std::vector<int32_t>& consumers = graph_->consumers(from);
  int32_t open = 0;
  for (int32_t to : consumers) open += progress.stages[to].state != State::kNotNeeded;
  for (int32_t to : consumers) {
    if (progress.stages[to].state == State::kNotNeeded) continue;
    // The last consumer takes the handles over, the others copy them.
    UpstreamChunk own = --open == 0 ? std::move(chunk) : chunk;
    if (!deliver(progress, to, segment, std::move(own))) return false;
  }
  return true;
}

bool Orchestrator::deliver(RequestProgress& progress, int32_t to, int32_t segment,
                           UpstreamChunk chunk) {
  StageProgress& down = progress.stages[to];
  if (down.state == State::kFinished || down.state == State::kReleasing) return true;
  if (segment < down.segment) return true;  // its end has been seen
  if (segment > down.segment) {
    gather_later(progress, to, segment, std::move(chunk));
    return true;
  }
  if (chunk.last) --down.open_sources;
  if (down.state == State::kRunning) {
    replica_of(progress, to)
        .send(ChunkCommand{progress.request->key, std::move(chunk), down.open_sources == 0});
    return true;
  }
  down.gathered.push_back(std::move(chunk));
  return down.state == State::kQueued || start_if_ready(progress, to);
}

void Orchestrator::gather_later(RequestProgress& progress, int32_t to, int32_t segment,
                                UpstreamChunk chunk) {
  std::vector<LaterSegment>& later = progress.stages[to].later;
  auto found = std::find_if(later.begin(), later.end(),
                            [&](const LaterSegment& l) { return l.segment == segment; });
  if (found == later.end()) {
    later.push_back({segment, progress.count_sources(*graph_, to, segment), {}});
    found = std::prev(later.end());
  }
  if (chunk.last) --found->open_sources;
  found->gathered.push_back(std::move(chunk));
}

bool Orchestrator::report(RequestProgress& progress, int32_t stage, int32_t segment,
                          StageOutput& output, bool ends) {
  StageProgress& at = progress.stages[stage];
  const AcceptedRequest& request = *progress.request;
  if (!at.wanted_output) {
    if (output.finished && at.state == State::kFinished && !std::exchange(at.said_metrics, true)) {
      emit(progress, StageMetricsMessage{request.request_id, stage, at.replica.value, at.metrics,
                                         at.submit_ts});
    }
    return true;
  }
  // A segment that is only taken in has nothing to say, unless it is the end of all.
  const bool speaks =
      ends && (progress.open_outputs == 0 || progress.answers(*graph_, stage, segment));
  if (!speaks && !has_content(output.delta)) return true;
  OutputMessage message;
  message.request_id = request.request_id;
  message.stage_id = stage;
  message.replica_id = at.replica.value;
  message.output_type = graph_->spec(stage).final_output_type;
  message.segment = segment;
  message.output = std::move(output.delta);
  message.stage_submit_ts = at.submit_ts;
  const double limit_s = options_.max_audio_s;
  const double audio_s = at.playback.audio_s();
  if (limit_s > 0 && (audio_s > limit_s || (audio_s == limit_s && !ends))) {
    at.playback.trim_to(limit_s, message.output.audio);
    at.playback.report(at.metrics);
    message.output.finish_reason = FinishReason::kLength;
    cut(progress, stage);
    ends = true;
  }
  message.metrics = at.metrics;
  message.finished = ends && progress.open_outputs == 0;
  const bool terminal = message.finished;
  const bool first = !std::exchange(progress.delivered, true);
  emit(progress, std::move(message));
  if (terminal) {
    release(progress, Ending::kSaid);
  } else if (first) {
    drop_inputs(progress);
  }
  return !terminal;
}

void Orchestrator::cut(RequestProgress& progress, int32_t stage) {
  const auto open = [&](int32_t s) {
    const State state = progress.stages[s].state;
    return state == State::kWaiting || state == State::kQueued || state == State::kRunning;
  };
  if (open(stage) && progress.stages[stage].wanted_output) --progress.open_outputs;
  progress.stages[stage].was_cut = true;
  let_go(progress, stage);
  for (const int32_t to : graph_->consumers(stage)) {
    if (open(to)) cut(progress, to);
  }
  // Sources may come after their consumers in the list: look until nothing changes.
  for (bool changed = true; changed;) {
    changed = false;
    for (int32_t s = 0; s < graph_->size(); ++s) {
      if (progress.stages[s].wanted_output || !open(s)) continue;
      const std::vector<int32_t>& consumers = graph_->consumers(s);
      if (std::any_of(consumers.begin(), consumers.end(), open)) continue;
      let_go(progress, s);
      changed = true;
    }
  }
}

}  // namespace tutti
