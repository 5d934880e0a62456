// AudibleOnset: finds where a sound that comes in chunks can be heard for the first time.
//
// Loudness is the root mean square over windows of 10 ms, one behind the other from the first
// sample on. Sound begins with the first of two windows in a row that have kAudible or more: a
// click that rings for some milliseconds is one window and no sound, however high its peak. What is
// found does not depend on how the samples are cut into chunks; an unfinished window at the end
// counts for nothing.
// Thread: its owner's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace tutti {

class AudibleOnset {
 public:
  static constexpr double kWindow_s = 0.01;
  static constexpr int kWindows = 2;
  // -50 dB of full scale: a vocoder's pauses have -90, quiet syllables -40.
  static constexpr float kAudible = 3.162e-3f;

  // Takes further samples at `sample_rate` Hz, until it is found. True when the last of
  // the first audible windows has just ended among them.
  bool add(std::span<const float> samples, int32_t sample_rate);
  bool found() const { return onset_.has_value(); }
  // Index of the first audible window's first sample, from the first sample of all.
  std::optional<int64_t> onset() const { return onset_; }

 private:
  int64_t samples_ = 0;    // of whole windows so far
  int loud_windows_ = 0;   // the last ones of them
  int64_t in_window_ = 0;  // samples of the current one
  double energy_ = 0;      // of them, summed
  std::optional<int64_t> onset_;
};

}  // namespace tutti
