#include "media/audible_onset.h"

#include <algorithm>
#include <cmath>

namespace tutti {

bool AudibleOnset::add(std::span<const float> samples, int32_t sample_rate) {
  if (found() || sample_rate <= 0) return false;
  const int64_t window = std::max<int64_t>(1, std::llround(kWindow_s * sample_rate));
  const double audible = double{kAudible} * kAudible * static_cast<double>(window);
  for (const float sample : samples) {
    energy_ += double{sample} * sample;
    if (++in_window_ < window) continue;
    loud_windows_ = energy_ >= audible ? loud_windows_ + 1 : 0;
    samples_ += window;
    in_window_ = 0;
    energy_ = 0;
    if (loud_windows_ < kWindows) continue;
    onset_ = samples_ - kWindows * window;
    return true;
  }
  return false;
}

}  // namespace tutti
