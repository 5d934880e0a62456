// What the records of a run come to: counts, throughputs and distributions.
//
// Thread: plain data and free functions, any thread.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "apps/bench_serve/load_options.h"
#include "apps/bench_serve/measurement.h"

namespace tutti::bench {

struct Distribution {
  int64_t count = 0;
  double mean = 0;
  double median = 0;
  double std = 0;  // of the population
  double max = 0;
  std::vector<double> percentiles;  // in the order asked for
};

// `q` in [0, 100], between neighbours by their distance, as numpy.percentile. `sorted` is not
// empty.
double percentile(std::span<const double> sorted, double q);
Distribution distribution(std::vector<double> values, std::span<const double> percentiles);

// One row of the table; `key` as vLLM and vLLM-Omni name it.
struct MetricRow {
  std::string key;    // "ttft"
  std::string unit;   // "ms", "s", or empty for a ratio
  std::string label;  // "Time to first token"
  Distribution values;
};

struct Summary {
  int64_t completed = 0;
  int64_t good = 0;  // of these, those that keep every limit
  int64_t failed = 0;
  int64_t unfinished = 0;
  std::map<std::string, int64_t> errors;  // sentence -> how often
  double duration_s = 0;
  int64_t input_tokens = 0;
  int64_t output_tokens = 0;
  int64_t audio_streams = 0;       // answers with sound
  int64_t continuous_streams = 0;  // of these, those without underrun
  double audio_s = 0;
  int64_t max_concurrent_requests = 0;
  std::vector<double> percentiles;
  std::vector<MetricRow> rows;  // those that some answer had a value for

  double per_second(double total) const { return duration_s > 0 ? total / duration_s : 0; }
};

// Counts and distributions of completed requests; failed ones are only counted.
Summary summarize(std::span<const RequestRecord> records, double duration_s,
                  std::vector<double> percentiles, std::span<const GoodputLimit> limits = {});

}  // namespace tutti::bench
