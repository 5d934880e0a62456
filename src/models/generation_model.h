// GenerationModel: a non-autoregressive streaming network as the generation engine sees it
// (code2wav): frames in, samples out, state kept per sequence, several sequences in one step.
//
// Thread: all calls come from the stage's replica thread.
#pragma once

#include <memory>
#include <span>

#include "backend/context.h"
#include "models/probe.h"
#include "models/stage_io.h"

namespace tutti {

struct GenerationModelInfo {
  int32_t sample_rate = 0;          // Hz of the output
  double frame_s = 0;               // seconds of output per frame of input
  int64_t max_frames_per_step = 0;  // of one sequence, bounded by scratch memory
  // How long each answer's sound is faded in (media/fade_in.h). The engine does that to what run()
  // gives, which is the network's own output.
  double fade_in_s = 0;
};

class GenerationSequence {
 public:
  virtual ~GenerationSequence() = default;
};

class GenerationModel {
 public:
  virtual ~GenerationModel() = default;
  virtual const GenerationModelInfo& info() const = 0;

  virtual Result<std::unique_ptr<GenerationSequence>> start(const StageInput& input) = 0;
  virtual Status append(GenerationSequence& sequence, StagePayload payload, bool last) = 0;
  // Frames that have arrived and are not computed yet.
  virtual int64_t pending_frames(const GenerationSequence& sequence) const = 0;
  // No chunk will follow.
  virtual bool input_complete(const GenerationSequence& sequence) const = 0;

  struct Work {
    GenerationSequence* sequence = nullptr;
    int64_t frames = 0;  // >= 1, <= pending_frames
    AudioChunk output;   // filled by run()
  };
  // One batched step. Output of a sequence does not depend on how its frames are cut into steps.
  virtual void run(OpContext& ctx, std::span<Work> work) = 0;

  // For checkers: sees intermediate tensors from now on.
  virtual void set_probe(Probe) {}
};

}  // namespace tutti
