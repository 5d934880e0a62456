#include "apps/bench_serve/summary.h"

#include <cmath>
#include <numeric>

#include "apps/bench_serve/goodput.h"

namespace tutti::bench {
namespace {

constexpr double kMs = 1e3;

struct Metric {
  const char* key;
  const char* unit;
  const char* label;
  double scale;
  // Adds what a completed request has of it.
  void (*add)(const RequestRecord&, std::vector<double>&);
};

void add_known(double value, std::vector<double>& out) {
  if (value >= 0) out.push_back(value);
}

constexpr Metric kMetrics[] = {
    {"ttft", "ms", "Time to first token", kMs,
     [](const RequestRecord& r, std::vector<double>& out) { add_known(r.ttft_s, out); }},
    {"tpot", "ms", "Time per output token", kMs,
     [](const RequestRecord& r, std::vector<double>& out) { add_known(r.tpot_s(), out); }},
    {"itl", "ms", "Inter-token latency", kMs,
     [](const RequestRecord& r, std::vector<double>& out) {
       out.insert(out.end(), r.itls_s.begin(), r.itls_s.end());
     }},
    {"audio_ttfp", "ms", "Time to first audio packet", kMs,
     [](const RequestRecord& r, std::vector<double>& out) { add_known(r.ttfp_s, out); }},
    {"audio_ttfa", "ms", "Time to first audible audio", kMs,
     [](const RequestRecord& r, std::vector<double>& out) { add_known(r.ttfa_s, out); }},
    {"audio_rtf", "", "Audio real-time factor", 1,
     [](const RequestRecord& r, std::vector<double>& out) {
       if (r.has_audio()) out.push_back(r.audio_rtf());
     }},
    {"audio_duration", "s", "Audio duration", 1,
     [](const RequestRecord& r, std::vector<double>& out) {
       if (r.has_audio()) out.push_back(r.audio_s);
     }},
    {"audio_underrun", "ms", "Audio underrun", kMs,
     [](const RequestRecord& r, std::vector<double>& out) {
       if (r.has_audio()) out.push_back(r.underrun_s);
     }},
    {"e2el", "ms", "End-to-end latency", kMs,
     [](const RequestRecord& r, std::vector<double>& out) { add_known(r.e2el_s, out); }},
};

// The most requests that were between their begin and their end at one moment.
int64_t most_at_once(std::span<const RequestRecord> records) {
  std::vector<std::pair<double, int>> changes;  // ends before begins at one time
  for (const RequestRecord& r : records) {
    if (r.begin_s < 0 || r.e2el_s < 0) continue;
    changes.emplace_back(r.begin_s, 1);
    changes.emplace_back(r.begin_s + r.e2el_s, -1);
  }
  std::sort(changes.begin(), changes.end());
  int64_t now = 0, most = 0;
  for (const auto& [at, change] : changes) most = std::max(most, now += change);
  return most;
}

}  // namespace

double percentile(std::span<const double> sorted, double q) {
  const double place = q / 100 * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(place);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return std::lerp(sorted[low], sorted[high], place - static_cast<double>(low));
}

Distribution distribution(std::vector<double> values, std::span<const double> percentiles) {
  Distribution out;
  out.count = static_cast<int64_t>(values.size());
  if (values.empty()) return out;
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(values.size());
  out.mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0;
  for (const double value : values) squares += (value - out.mean) * (value - out.mean);
  out.std = std::sqrt(squares / count);
  out.median = percentile(values, 50);
  out.max = values.back();
  for (const double q : percentiles) out.percentiles.push_back(percentile(values, q));
  return out;
}

Summary summarize(std::span<const RequestRecord> records, double duration_s,
                  std::vector<double> percentiles, std::span<const GoodputLimit> limits) {
  Summary out;
  out.duration_s = duration_s;
  out.percentiles = std::move(percentiles);
  out.max_concurrent_requests = most_at_once(records);
  for (const RequestRecord& r : records) {
    if (r.outcome == Outcome::kUnfinished) ++out.unfinished;
    if (r.outcome == Outcome::kFailed) {
      ++out.failed;
      ++out.errors[r.error];
    }
    if (r.outcome != Outcome::kCompleted) continue;
    ++out.completed;
    if (keeps(r, limits)) ++out.good;
    out.input_tokens += r.input_tokens;
    out.output_tokens += r.output_tokens;
    out.audio_s += r.audio_s;
    if (!r.has_audio()) continue;
    ++out.audio_streams;
    if (r.underrun_s == 0) ++out.continuous_streams;
  }
  for (const Metric& metric : kMetrics) {
    std::vector<double> values;
    for (const RequestRecord& r : records) {
      if (r.outcome == Outcome::kCompleted) metric.add(r, values);
    }
    if (values.empty()) continue;
    for (double& value : values) value *= metric.scale;
    out.rows.push_back(
        {metric.key, metric.unit, metric.label, distribution(std::move(values), out.percentiles)});
  }
  return out;
}

}  // namespace tutti::bench
