// FrameScheduler: whose frames the next step of a streaming network computes, and how many.
//
// A listener must not run dry: sequences go by playback deadline, the time at which everything
// produced so far has been played. The first chunk is one frame, as soon as there is one. Later
// ones double until they are half of what the listener has still to hear; such chunks are even
// waited for while he can spare the time, because every step reads all weights and drives those of
// other stages out of the caches. They are small while he is about to run dry. When no more input
// will come, all of it is taken. Thread: the stage's replica thread. Borrows sequences for the
// call.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <vector>

#include "engine/sequence_outputs.h"
#include "media/audible_onset.h"
#include "models/generation_model.h"
#include "models/stage_io.h"

namespace tutti::generation {

struct Sequence : SequenceBase {
  std::unique_ptr<GenerationSequence> model;
  TimePoint playback_begin;  // of the first sample, moved on by each silence
  int64_t samples_out = 0;   // handed out
  AudibleOnset onset;        // among them
  int64_t last_chunk = 0;    // frames
};

struct ScheduledFrames {
  Sequence* sequence = nullptr;
  int64_t frames = 0;
};

class FrameScheduler {
 public:
  FrameScheduler(const GenerationModel& model, int32_t max_num_seqs);

  // Chooses among `sequences`; the most urgent first. Valid until the next call.
  std::span<const ScheduledFrames> schedule(std::span<Sequence* const> sequences, TimePoint now);
  // Whether frames should be computed now.
  bool is_runnable(const Sequence& sequence, TimePoint now) const;
  // When it becomes runnable though nothing comes: max for never.
  TimePoint runnable_at(const Sequence& sequence) const;
  // When its result is needed.
  TimePoint deadline(const Sequence& sequence) const;
  // What a step took, its wait for the device included.
  void learn_cost(int64_t frames, double seconds);

 private:
  double reserve_s(int64_t frames) const;
  double lead_frames(const Sequence& sequence, TimePoint now) const;
  int64_t frames_for(const Sequence& sequence, TimePoint now) const;

  const GenerationModel& model_;
  int32_t max_num_seqs_;
  double frame_cost_s_ = 0;  // a running average; 0: not known yet
  std::vector<Sequence*> order_;
  std::vector<ScheduledFrames> scheduled_;
};

}  // namespace tutti::generation
