// The op benchmark: each op on the shapes of a 0.6B dense model and of a vocoder, against the copy
// bandwidth and the fused multiply-add peak that the same run measures.
#pragma once

#include <string>

namespace tutti::op_check {

// Runs the cases whose name begins with `filter` and prints a table; 0.
int run_benchmarks(const std::string& filter);

}  // namespace tutti::op_check
