// Seeds of random streams: derived, so that streams of different requests and stages never meet.
#pragma once

#include <cstdint>

namespace tutti {

// SplitMix64 (Steele, Lea, Flood 2014): a bijection of 64-bit integers whose outputs look random.
constexpr uint64_t mix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

// From the system's entropy; every call differs.
uint64_t draw_seed();

}  // namespace tutti
