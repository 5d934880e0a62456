// Orchestrator: resumable requests. One that waits for its next segment has no place among the live
// ones; with the segment it queues for one, beside the requests of the request queue.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "orchestrator/orchestrator.h"

namespace tutti {
namespace {

constexpr double kRetryAfter_s = 1;

}  // namespace

int32_t Orchestrator::segments_done(const RequestProgress& progress) const {
  int32_t done = progress.num_segments();
  for (const StageProgress& at : progress.stages) {
    const bool open = at.state != State::kNotNeeded && at.state != State::kFinished;
    if (open) done = std::min(done, at.segment);
  }
  return done;
}

void Orchestrator::note_segments(RequestProgress& progress) {
  if (!progress.resumable || progress.ending != Ending::kNone) return;
  const int32_t done = segments_done(progress);
  if (const auto& handle = progress.request->handle) {
    int64_t tokens = 0;
    for (const StageProgress& at : progress.stages) tokens = std::max(tokens, at.tokens_out);
    handle->tokens_done = tokens;
    handle->segments_done = done;
  }
  const bool idle = done >= progress.num_segments() && !progress.input_complete();
  if (!idle || progress.place != Place::kHeld) return;
  progress.place = Place::kIdle;
  ++resting_;
  has_room_ = true;
}

void Orchestrator::wait_for_place(RequestProgress& progress, double since_s) {
  progress.place = Place::kWaiting;
  progress.waits_since_s = since_s;
  sessions_.insert({progress.request->priority, since_s, progress.request->key});
  has_room_ = true;
}

bool Orchestrator::session_is_next() {
  if (sessions_.empty()) return false;
  const WaitingSession& session = *sessions_.begin();
  bool next = true;
  requests_.watch([&](const auto& request) {
    next &= std::pair(session.priority, session.since_s) <=
            std::pair(request->priority, request->arrival_s);
  });
  return next;
}

void Orchestrator::go_on(RequestProgress& progress) {
  const RequestKey key = progress.request->key;
  sessions_.erase({progress.request->priority, progress.waits_since_s, key});
  progress.place = Place::kHeld;
  --resting_;
  guarded(key, std::nullopt, "Going on with a session", [&] {
    // After a retry its stages begin again; otherwise they run still.
    if (progress.ending == Ending::kNone && !submit_entries(progress)) return;
    for (RequestSegment& segment : std::exchange(progress.pending, {})) {
      if (!extend(progress, std::move(segment))) return;
    }
  });
}

bool Orchestrator::check_pending(RequestProgress& progress, int32_t open) {
  if (open <= options_.max_pending_updates) return true;
  fail(progress, std::nullopt,
       resource_exhausted(fmt::format("{} updates of the request wait for their turn; no more "
                                      "than {} may.",
                                      open, options_.max_pending_updates))
           .with_retry_after(kRetryAfter_s));
  return false;
}

void Orchestrator::take(RequestProgress& progress, RequestSegment segment) {
  if (progress.place == Place::kHeld) {
    extend(progress, std::move(segment));
    return;
  }
  const bool ending = progress.ending == Ending::kSaid || progress.ending == Ending::kAborted;
  if (ending) return;
  const double since_s = segment.arrival_s;
  progress.pending.push_back(std::move(segment));
  const auto pending = static_cast<int32_t>(progress.pending.size());
  const int32_t known = progress.num_segments() - segments_done(progress);
  if (!check_pending(progress, known + pending - 1)) return;
  if (progress.place == Place::kIdle) wait_for_place(progress, since_s);
}

bool Orchestrator::extend(RequestProgress& progress, RequestSegment segment) {
  const bool ending = progress.ending == Ending::kSaid || progress.ending == Ending::kAborted;
  if (ending || progress.input_complete()) return true;
  const int32_t index = progress.num_segments();
  if (!check_pending(progress, index - segments_done(progress))) return false;
  progress.updates.push_back(std::move(segment));
  if (progress.ending == Ending::kRetried) return true;  // sent with the others
  for (int32_t s = 0; s < graph_->size(); ++s) {
    StageProgress& at = progress.stages[s];
    if (graph_->spec(s).sources.empty()) {
      if (at.state == State::kRunning) send_segment(progress, s, index);
    } else if (at.state == State::kWaiting && at.segment >= index) {
      progress.seek_segment(*graph_, s);
      if (at.state == State::kFinished && at.wanted_output) --progress.open_outputs;
    }
  }
  if (progress.delivered) drop_inputs(progress);
  if (progress.open_outputs > 0) return true;
  say_finished(progress);
  return false;
}

bool Orchestrator::end_early(RequestProgress& progress, int32_t stage) {
  const int32_t answered = progress.stages[stage].segment;
  int32_t begun = answered;
  const auto other_entry = [&](int32_t s) {
    return s != stage && graph_->spec(s).sources.empty() &&
           progress.stages[s].state != State::kNotNeeded;
  };
  for (int32_t s = 0; s < graph_->size(); ++s) {
    if (!other_entry(s)) continue;
    const StageProgress& at = progress.stages[s];
    begun = std::max(begun, at.segment + (at.state == State::kRunning ? 1 : 0));
  }
  progress.ended_early = true;
  progress.end_input(std::min(begun, progress.num_segments()));
  for (int32_t s = 0; s < graph_->size(); ++s) {
    if (other_entry(s)) end_with_input(progress, s);
  }
  // To what the other entries have begun this one adds nothing.
  for (int32_t i = answered; i < progress.num_segments(); ++i) {
    const bool feeds = progress.stages[stage].feeds_others && progress.answers(*graph_, stage, i);
    if (feeds && !forward(progress, stage, i, {stage, {}, true, {}, now_})) return false;
  }
  for (int32_t s = 0; s < graph_->size(); ++s) {
    StageProgress& other = progress.stages[s];
    const bool waits = other.state == State::kWaiting && !graph_->spec(s).sources.empty();
    if (!waits || other.segment < progress.num_segments()) continue;
    progress.seek_segment(*graph_, s);
    if (other.state == State::kFinished && other.wanted_output) --progress.open_outputs;
  }
  return true;
}

void Orchestrator::end_with_input(RequestProgress& progress, int32_t stage) {
  StageProgress& at = progress.stages[stage];
  if (at.state != State::kRunning || at.segment < progress.num_segments()) return;
  if (at.wanted_output) --progress.open_outputs;
  at.was_cut = true;  // segments that were dropped
  // Its companions are not: they answer the first segment.
  abort_sequence(progress, stage, at.state, progress.request->key);
}

}  // namespace tutti
