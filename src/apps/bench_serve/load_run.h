// A load run: requests sent when they are due, at most so many at once, each measured.
//
// Thread: the caller's, which does all the work until the run is over.
#pragma once

#include <string>
#include <vector>

#include "tutti/status.h"

#include "apps/bench_serve/load_options.h"
#include "apps/bench_serve/measurement.h"
#include "apps/bench_serve/prompts.h"

namespace tutti::bench {

struct LoadResult {
  std::vector<RequestRecord> records;  // one per prompt, in the order of their arrivals
  double duration_s = 0;               // from the first request to the last answer
  bool interrupted = false;
  std::string model;  // that was asked for
};

// Errors: the server cannot be connected to, or names no model although none was given. Failures of
// single requests are in their records.
Result<LoadResult> run_load(LoadOptions options, const std::vector<LoadPrompt>& prompts);

}  // namespace tutti::bench
