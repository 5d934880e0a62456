// Load-time parallelism: plain threads that take pieces from a counter. Loading happens before a
// device's thread pool has work, and may run for several stages at once.
#pragma once

#include <cstddef>
#include <functional>
#include <stop_token>

namespace tutti {

// Calls run(i) for every i < count from up to num_threads threads (0: one per core); progress(done)
// is called from the calling thread only, with the number of pieces done. False: `cancel` came
// before the last piece was begun, and the rest was left out.
bool parallel_pieces(size_t count, int num_threads, const std::function<void(size_t)>& run,
                     const std::function<void(size_t)>& progress = {},
                     const std::stop_token& cancel = {});

}  // namespace tutti
