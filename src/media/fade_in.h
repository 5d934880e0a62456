// A sound's beginning brought up softly, so that it does not click.
#pragma once

#include <cstdint>
#include <span>

namespace tutti {

// Multiplies `samples`, of which the first is sample `first` of the sound, with a raised cosine:
// 0.5 - 0.5 cos(pi (i + 0.5) / length) for sample i < length, 1 for all others. The result does not
// depend on how the sound is cut.
void fade_in(std::span<float> samples, int64_t first, int64_t length);

}  // namespace tutti
