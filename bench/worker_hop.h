// What a hop of a chunk costs when both of its stages are worker processes. The benchmark's own
// program is the worker, too: its stages are told apart by their load spec.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace tutti::bench {

// Exit code when this process was started as a worker.
std::optional<int> serve_as_worker(int argc, char** argv);
// Calls `print` with a row's name and all its values in microseconds.
void bench_worker_hops(
    const std::function<void(const std::string& what, std::vector<double> values_us)>& print);

}  // namespace tutti::bench
