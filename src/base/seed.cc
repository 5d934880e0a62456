#include "base/seed.h"

#include <atomic>
#include <random>

#include "base/random.h"

namespace tutti {

uint64_t draw_seed() {
  static const uint64_t start = [] {
    std::random_device device;
    return (uint64_t{device()} << 32) | device();
  }();
  static std::atomic<uint64_t> draws{0};
  return mix64(start + draws.fetch_add(1, std::memory_order_relaxed));
}

}  // namespace tutti
