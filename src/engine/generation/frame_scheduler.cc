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
// Nobody listens to a request that wants its result whole; it is as urgent as a listener whose
// buffer lasts this long, so that listeners go first and yet don't starve it.
constexpr std::chrono::seconds kWholeResultPatience{10};

}  // namespace

FrameScheduler::FrameScheduler(const GenerationModel& model, int32_t max_num_seqs)
    : model_(model), max_num_seqs_(max_num_seqs) {}

std::span<const ScheduledFrames> FrameScheduler::schedule(std::span<Sequence* const> sequences) {
  order_.clear();
  for (Sequence* sequence : sequences) {
    if (is_runnable(*sequence)) order_.push_back(sequence);
  }
  std::sort(order_.begin(), order_.end(), [this](const Sequence* a, const Sequence* b) {
    return std::tuple(a->request.priority, deadline(*a), a->arrival) <
           std::tuple(b->request.priority, deadline(*b), b->arrival);
  });
  scheduled_.clear();
  int64_t total = 0;
  for (Sequence* sequence : order_) {
    if (static_cast<int32_t>(scheduled_.size()) == max_num_seqs_) break;
    const int64_t frames = frames_for(*sequence);
    if (!scheduled_.empty() && total + frames > kMaxFramesOfStep) break;
    total += frames;
    scheduled_.push_back({sequence, frames});
  }
  return scheduled_;
}

bool FrameScheduler::is_runnable(const Sequence& sequence) const {
  if (model_.pending_frames(*sequence.model) == 0) return false;
  return sequence.request.streams_payload || model_.input_complete(*sequence.model);
}

TimePoint FrameScheduler::deadline(const Sequence& sequence) const {
  if (!sequence.request.streams_payload) return sequence.submitted + kWholeResultPatience;
  if (sequence.samples_out == 0) return sequence.submitted;
  const std::chrono::duration<double> produced(static_cast<double>(sequence.samples_out) /
                                               model_.info().sample_rate);
  return sequence.first_output + std::chrono::duration_cast<Duration>(produced);
}

int64_t FrameScheduler::frames_for(const Sequence& sequence) const {
  const int64_t pending = model_.pending_frames(*sequence.model);
  const int64_t most = model_.info().max_frames_per_step;
  if (model_.input_complete(*sequence.model)) return std::min(pending, most);
  return std::min({pending, most, kMaxStreamingChunk, sequence.next_chunk});
}

}  // namespace tutti::generation
