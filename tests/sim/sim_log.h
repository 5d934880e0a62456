// SimWorld::log(): the trace of a replayed seed.
#pragma once

#include <fmt/format.h>

#include <cstdio>

#include "sim/sim_world.h"

namespace tutti::sim {

// What the world expects as the seed of a sequence.
uint64_t seed_of(RequestKey key, int32_t stage, int32_t segment);

template <typename... Args>
void SimWorld::log(const char* format, Args... args) {
  if (!trace_) return;
  std::fprintf(stderr, "%6lld  %s\n", static_cast<long long>(stats_.events),
               fmt::format(fmt::runtime(format), args...).c_str());
}

}  // namespace tutti::sim
