// Playback: how a listener would hear one stage's audio who plays each chunk as it comes.
//
// Playback begins with the first chunk of an answer. A chunk that comes later than the end of all
// that was delivered before has left the listener in silence for the difference: underrun. Each
// segment of a resumable request is an answer of its own: the pause between two is no underrun.
// Thread: its owner's.
#pragma once

#include <span>

#include "tutti/output.h"

#include "media/audible_onset.h"

namespace tutti {

class Playback {
 public:
  // `samples` at `sample_rate` Hz have arrived at `now_s`.
  void add(double now_s, std::span<const float> samples, int32_t sample_rate);
  // Cuts `last`, the chunk that was added last, so that no more than `limit_s` of audio remain.
  void trim_to(double limit_s, AudioChunk& last);
  // The next chunk begins a new answer.
  void begin_answer();

  double audio_s() const { return audio_s_; }
  double underrun_s() const { return underrun_s_; }
  // When the first audible sound had arrived (AudibleOnset); 0: none yet.
  double first_audio_s() const { return first_audio_s_; }
  void report(StageMetrics& metrics) const;

 private:
  bool playing_ = false;
  double end_s_ = 0;  // when the listener has heard all that was delivered
  AudibleOnset onset_;
  double first_audio_s_ = 0;
  double audio_s_ = 0;
  double underrun_s_ = 0;
};

}  // namespace tutti
