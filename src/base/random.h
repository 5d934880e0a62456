// Counter-based random numbers: a draw depends on (seed, stream, index) alone, so that a request's
// choices don't depend on its batch neighbours, on how its prompt was cut or on preemption.
#pragma once

#include <cstdint>

namespace tutti {

// Finalizer of SplitMix64 (Steele, Lea, Flood 2014).
constexpr uint64_t mix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

constexpr uint64_t counter_random(uint64_t seed, uint64_t stream, uint64_t index) {
  return mix64(mix64(mix64(seed) ^ stream) ^ index);
}

// Uniform in [0, 1), 24 bits.
constexpr float counter_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
  return static_cast<float>(counter_random(seed, stream, index) >> 40) * 0x1.0p-24f;
}

}  // namespace tutti
