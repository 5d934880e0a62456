// When the requests of a run are sent.
//
// Thread: free functions, any thread.
#pragma once

#include <cstdint>
#include <vector>

namespace tutti::bench {

// Seconds from the run's begin, rising: the arrivals of a Poisson process of `rate` requests per
// second, the first at 0. All 0 when the rate is infinite. The same seed, the same arrivals.
std::vector<double> poisson_arrivals(int64_t count, double rate, uint64_t seed);

}  // namespace tutti::bench
