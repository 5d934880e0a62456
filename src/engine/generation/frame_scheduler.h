// FrameScheduler: whose frames the next step of a streaming network computes, and how many.
//
// A listener must not run dry: sequences go by playback deadline, the time at which everything
// produced so far has been played. Chunks of one sequence grow 1, 2, 4, ... so that the first sound
// comes at once and later ones cost less; when no more input will come, all of it is taken.
// Thread: the stage's replica thread. Borrows sequences for the call.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <vector>

#include "engine/sequence_outputs.h"
#include "models/generation_model.h"
#include "models/stage_io.h"

namespace tutti::generation {

struct Sequence : SequenceBase {
  std::unique_ptr<GenerationSequence> model;
  TimePoint submitted;
  TimePoint first_output;
  int64_t samples_out = 0;  // handed out
  int64_t next_chunk = 1;   // frames
};

struct ScheduledFrames {
  Sequence* sequence = nullptr;
  int64_t frames = 0;
};

class FrameScheduler {
 public:
  FrameScheduler(const GenerationModel& model, int32_t max_num_seqs);

  // Chooses among `sequences`; the most urgent first. Valid until the next call.
  std::span<const ScheduledFrames> schedule(std::span<Sequence* const> sequences);
  // Frames that could be computed now.
  bool is_runnable(const Sequence& sequence) const;
  // When its result is needed.
  TimePoint deadline(const Sequence& sequence) const;

 private:
  int64_t frames_for(const Sequence& sequence) const;

  const GenerationModel& model_;
  int32_t max_num_seqs_;
  std::vector<Sequence*> order_;
  std::vector<ScheduledFrames> scheduled_;
};

}  // namespace tutti::generation
