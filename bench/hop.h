// What a hop of a chunk costs: from the moment before a stage puts it out to the moment the next
// stage has it, through the orchestrator. Both stages are threads or worker processes; the
// benchmark's own program is the worker, too, and its stages are told apart by their load spec.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace tutti::bench {

// Exit code when this process was started as a worker.
std::optional<int> serve_as_worker(int argc, char** argv);
// Calls `print` with a row's name and all its values in microseconds.
void bench_hops(
    const std::function<void(const std::string& what, std::vector<double> values_us)>& print);

}  // namespace tutti::bench
