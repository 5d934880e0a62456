#include "engine/generation/frame_scheduler.h"

#include <algorithm>
#include <tuple>

namespace tutti::generation {

namespace {

// Where growing stops while more input may come: 2.6 s of sound at 80 ms a frame.
constexpr int64_t kMaxStreamingChunk = 32;
// A step takes no further sequence beyond so many frames, so that a newcomer's first sound does not
// wait behind everybody's long chunks.
constexpr int64_t kMaxFramesOfStep = 64;
// A chunk may take up to this share of what the listener still has to hear.
constexpr double kShareOfLead = 0.5;
// Frames that are waited for at most while he is ahead; larger chunks save little more.
constexpr int64_t kMostAwaited = 16;
// What a listener who is about to run dry gets at once when frames are plenty.
constexpr int64_t kHastyChunk = 4;

}  // namespace

FrameScheduler::FrameScheduler(const GenerationModel& model, int32_t max_num_seqs)
    : model_(model), max_num_seqs_(max_num_seqs) {}

std::span<const ScheduledFrames> FrameScheduler::schedule(std::span<Sequence* const> sequences,
                                                          TimePoint now) {
  order_.clear();
  for (Sequence* sequence : sequences) {
    if (is_runnable(*sequence, now)) order_.push_back(sequence);
  }
  std::sort(order_.begin(), order_.end(), [this](const Sequence* a, const Sequence* b) {
    return std::tuple(a->request.priority, deadline(*a), a->arrival) <
           std::tuple(b->request.priority, deadline(*b), b->arrival);
  });
  scheduled_.clear();
  int64_t total = 0;
  for (Sequence* sequence : order_) {
    if (static_cast<int32_t>(scheduled_.size()) == max_num_seqs_) break;
    const int64_t frames = frames_for(*sequence, now);
    if (!scheduled_.empty() && total + frames > kMaxFramesOfStep) break;
    total += frames;
    scheduled_.push_back({sequence, frames});
  }
  return scheduled_;
}

bool FrameScheduler::is_runnable(const Sequence& sequence, TimePoint now) const {
  return now >= runnable_at(sequence);
}

TimePoint FrameScheduler::runnable_at(const Sequence& sequence) const {
  const int64_t pending = model_.pending_frames(*sequence.model);
  if (pending == 0) return TimePoint::max();
  if (model_.input_complete(*sequence.model)) return TimePoint::min();
  if (!sequence.request.streams_payload) return TimePoint::max();
  if (sequence.samples_out == 0 || pending >= kMostAwaited) return TimePoint::min();
  // When what is pending is the listener's share of the lead, and a frame earlier, because the step
  // takes time.
  const double lead_s = static_cast<double>(pending + 1) / kShareOfLead * model_.info().frame_s;
  return deadline(sequence) - from_seconds(lead_s);
}

TimePoint FrameScheduler::deadline(const Sequence& sequence) const {
  if (!sequence.request.streams_payload) return sequence.submitted + kWholeResultPatience;
  if (sequence.samples_out == 0) return sequence.submitted;
  return sequence.playback_begin +
         from_seconds(static_cast<double>(sequence.samples_out) / model_.info().sample_rate);
}

double FrameScheduler::lead_frames(const Sequence& sequence, TimePoint now) const {
  return to_seconds(deadline(sequence) - now) / model_.info().frame_s;
}

int64_t FrameScheduler::frames_for(const Sequence& sequence, TimePoint now) const {
  const int64_t pending = model_.pending_frames(*sequence.model);
  const int64_t most = std::min(pending, model_.info().max_frames_per_step);
  if (model_.input_complete(*sequence.model)) return most;
  if (sequence.samples_out == 0) return 1;
  const int64_t hasty = std::min(2 * sequence.last_chunk, kHastyChunk);
  const auto share = static_cast<int64_t>(kShareOfLead * lead_frames(sequence, now) + 1e-6);
  return std::min(most, std::clamp(share, hasty, kMaxStreamingChunk));
}

}  // namespace tutti::generation
