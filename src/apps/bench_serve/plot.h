// A run's latencies as one SVG file: how many answers came within which time, and how that went
// over the run. It needs nothing else, and follows the reader's light or dark colours.
//
// Thread: free functions, any thread.
#pragma once

#include <span>
#include <string>

#include "apps/bench_serve/measurement.h"

namespace tutti::bench {

// `title` is any text.
std::string latency_plot(std::span<const RequestRecord> records, const std::string& title);

}  // namespace tutti::bench
