// A run's outcome for people (a table) and for programs (JSON).
//
// Thread: free functions, any thread.
#pragma once

#include <boost/json.hpp>
#include <string>

#include "apps/bench_serve/load_options.h"
#include "apps/bench_serve/load_run.h"
#include "apps/bench_serve/summary.h"

namespace tutti::bench {

std::string report_table(const LoadOptions& options, const LoadResult& result,
                         const Summary& summary);

// vLLM's keys where it has them. `detailed` adds every request's figures.
boost::json::object report_json(const LoadOptions& options, const LoadResult& result,
                                const Summary& summary, const std::string& date, bool detailed);

}  // namespace tutti::bench
