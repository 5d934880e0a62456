#include "weights/parallel.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace tutti {

bool parallel_pieces(size_t count, int num_threads, const std::function<void(size_t)>& run,
                     const std::function<void(size_t)>& progress, const std::stop_token& cancel) {
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  const size_t threads =
      std::min(count, num_threads > 0 ? static_cast<size_t>(num_threads) : cores);
  std::atomic<size_t> next{0};
  std::atomic<size_t> done{0};
  const auto take_one = [&] {
    if (cancel.stop_requested()) return false;
    const size_t i = next.fetch_add(1, std::memory_order_relaxed);
    if (i >= count) return false;
    run(i);
    done.fetch_add(1, std::memory_order_relaxed);
    return true;
  };
  std::vector<std::jthread> helpers;
  for (size_t t = 1; t < threads; ++t) {
    helpers.emplace_back([&] {
      while (take_one()) {
      }
    });
  }
  while (take_one()) {
    if (progress) progress(done.load(std::memory_order_relaxed));
  }
  helpers.clear();  // joins
  if (done.load(std::memory_order_relaxed) < count) return false;
  if (progress) progress(count);
  return true;
}

}  // namespace tutti
