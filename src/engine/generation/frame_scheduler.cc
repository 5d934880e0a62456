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
// Chunks double up to this one though it is more than the share of the lead, if the listener can
// spare the time.
constexpr int64_t kLastDoubled = 8;
// What the listener must have left when a step that was waited for is done, beside as long again as
// it is expected to take.
constexpr double kMargin_s = 0.03;
// What a listener who is about to run dry gets at once when frames are plenty.
constexpr int64_t kHastyChunk = 4;

// As many as there have been, and one more: 2, 4, 8. 0 later, when chunks follow the lead alone.
int64_t doubled_chunk(const Sequence& sequence) {
  const int64_t before = sequence.metrics.prompt_tokens;
  return before < kLastDoubled ? before + 1 : 0;
}

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
  double lead_s = static_cast<double>(pending + 1) / kShareOfLead * model_.info().frame_s;
  // Less than the doubled chunk is taken only when the listener can spare no more time.
  if (pending < doubled_chunk(sequence)) lead_s = std::min(lead_s, reserve_s(pending + 1));
  return deadline(sequence) - from_seconds(lead_s);
}

TimePoint FrameScheduler::deadline(const Sequence& sequence) const {
  if (!sequence.request.streams_payload) return sequence.submitted + kWholeResultPatience;
  if (sequence.samples_out == 0) return sequence.submitted;
  return sequence.playback_begin +
         from_seconds(static_cast<double>(sequence.samples_out) / model_.info().sample_rate);
}

void FrameScheduler::learn_cost(int64_t frames, double seconds) {
  constexpr double kNewShare = 0.25;
  const double cost_s = seconds / static_cast<double>(frames);
  frame_cost_s_ =
      frame_cost_s_ == 0 ? cost_s : frame_cost_s_ + kNewShare * (cost_s - frame_cost_s_);
}

// The lead with which a step of so many frames is safe to begin.
double FrameScheduler::reserve_s(int64_t frames) const {
  return kMargin_s + 2 * frame_cost_s_ * static_cast<double>(frames);
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
  const double lead = lead_frames(sequence, now);
  const auto share = static_cast<int64_t>(kShareOfLead * lead + 1e-6);
  const int64_t doubled = doubled_chunk(sequence);
  const bool pays = lead * model_.info().frame_s >= reserve_s(doubled);
  return std::min(most,
                  std::clamp(pays ? std::max(share, doubled) : share, hasty, kMaxStreamingChunk));
}

}  // namespace tutti::generation
