// When the requests of a run are sent.
//
// Thread: free functions, any thread.
#pragma once

#include <cstdint>
#include <vector>

namespace tutti::bench {

// Seconds from the run's begin, rising, the first at 0: `rate` requests per second whose gaps have
// a gamma distribution of the shape `burstiness` and the mean 1 / rate, as those of vLLM's bench.
// 1 is a Poisson process; below, requests come in bursts; above, more evenly. All 0 when the rate
// is infinite. The same seed, the same arrivals.
std::vector<double> arrivals(int64_t count, double rate, double burstiness, uint64_t seed);

}  // namespace tutti::bench
