// A picture for benchmarks: waves of colour with some noise, as a JPEG file of quality 90.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tutti {

// Pictures of other seeds have other noise.
std::vector<std::byte> photo_jpeg(int width, int height, uint32_t seed);

}  // namespace tutti
