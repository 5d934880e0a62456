// TimeStretch: speech faster or slower at the same pitch, while it is produced: overlap-add of
// frames that begin where they fit their predecessor best (WSOLA; Verhelst and Roelands 1993).
//
// Thread: one at a time. Invariant: the length of the output is the input's over `speed`, within a
// frame; speed 1 passes samples on unchanged.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tutti {

class TimeStretch {
 public:
  TimeStretch(int32_t sample_rate, double speed);
  // Samples in -1..1; returns what is ready.
  std::vector<float> append(std::span<const float> samples);
  std::vector<float> finish();

 private:
  std::vector<float> run(int64_t until);
  void forget_used();
  int64_t best_start(int64_t wanted) const;

  const double speed_;
  const int64_t hop_;     // of the output: half a frame
  const int64_t search_;  // how far a frame may move
  std::vector<float> window_;
  std::vector<float> input_;
  int64_t input_begin_ = 0;   // position of input_.front() in the stream
  int64_t next_frame_ = 0;    // index of the next frame
  int64_t continuation_ = 0;  // where the last frame would go on by itself
  std::vector<float> tail_;   // second half of the last frame, windowed
};

}  // namespace tutti
