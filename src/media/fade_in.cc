#include "media/fade_in.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numbers>

namespace tutti {

void fade_in(std::span<float> samples, int64_t first, int64_t length) {
  const int64_t count = std::clamp<int64_t>(length - first, 0, std::ssize(samples));
  for (int64_t i = 0; i < count; ++i) {
    const double phase = (static_cast<double>(first + i) + 0.5) / static_cast<double>(length);
    const double gain = 0.5 - 0.5 * std::cos(std::numbers::pi * phase);
    float& sample = samples[static_cast<size_t>(i)];
    sample = static_cast<float>(sample * gain);
  }
}

}  // namespace tutti
