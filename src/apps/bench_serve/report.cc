#include "apps/bench_serve/report.h"

#include <fmt/format.h>

#include <cmath>

#include "apps/bench_serve/goodput.h"

namespace tutti::bench {

namespace json = boost::json;

namespace {

constexpr size_t kMostErrors = 10;  // kinds of them in the table

// Four digits that matter, so that a table of microseconds and minutes stays narrow.
std::string number(double value) {
  const double size = std::abs(value);
  return fmt::format("{:.{}f}", value, size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3);
}

std::string percentile_name(double q) { return fmt::format("p{:g}", q); }

std::string count_line(std::string_view label, const std::string& value) {
  return fmt::format("{:<34}{:>14}\n", std::string(label) + ":", value);
}

std::string errors_text(const Summary& summary) {
  std::vector<std::pair<int64_t, std::string>> errors;
  for (const auto& [sentence, count] : summary.errors) errors.emplace_back(count, sentence);
  std::sort(errors.rbegin(), errors.rend());
  std::string out;
  for (size_t i = 0; i < errors.size() && i < kMostErrors; ++i) {
    out += fmt::format("  {} x {}\n", errors[i].first, errors[i].second);
  }
  if (errors.size() > kMostErrors) {
    out += fmt::format("  and {} other errors\n", errors.size() - kMostErrors);
  }
  return out;
}

std::string rows_text(const Summary& summary) {
  std::string out = fmt::format("{:<34}{:>10}{:>10}", "", "mean", "median");
  for (const double q : summary.percentiles) out += fmt::format("{:>10}", percentile_name(q));
  out += fmt::format("{:>10}\n", "max");
  for (const MetricRow& row : summary.rows) {
    const std::string label = row.unit.empty() ? row.label : row.label + " (" + row.unit + ")";
    out += fmt::format("{:<34}{:>10}{:>10}", label, number(row.values.mean),
                       number(row.values.median));
    for (const double value : row.values.percentiles) out += fmt::format("{:>10}", number(value));
    out += fmt::format("{:>10}\n", number(row.values.max));
  }
  return out;
}

json::value finite_or(double value, const char* otherwise) {
  return std::isfinite(value) ? json::value(value) : json::value(otherwise);
}

// Null for what an answer did not have; records say -1.
json::value known(double value) { return value < 0 ? json::value(nullptr) : json::value(value); }

json::object detail(const RequestRecord& r) {
  json::array itls(r.itls_s.begin(), r.itls_s.end());
  const char* outcome = r.outcome == Outcome::kCompleted ? "completed"
                        : r.outcome == Outcome::kFailed  ? "failed"
                                                         : "unfinished";
  return {{"outcome", outcome},
          {"error", r.error},
          {"start_time", known(r.begin_s)},
          {"e2el", known(r.e2el_s)},
          {"ttft", known(r.ttft_s)},
          {"itls", std::move(itls)},
          {"input_len", r.input_tokens},
          {"output_len", r.output_tokens},
          {"audio_ttfp", known(r.ttfp_s)},
          {"audio_ttfa", known(r.ttfa_s)},
          {"audio_duration", r.has_audio() ? json::value(r.audio_s) : json::value(nullptr)},
          {"audio_underrun", r.has_audio() ? json::value(r.underrun_s) : json::value(nullptr)}};
}

}  // namespace

std::string report_table(const LoadOptions& options, const LoadResult& result, const Summary& s) {
  const auto rate = [&](double total) { return number(s.per_second(total)); };
  const std::string title =
      fmt::format(" {} of {} ", backend_info(options.backend).name, result.model);
  // As wide as the rows: label, mean, median, percentiles, max.
  const size_t width = 34 + 10 * (3 + s.percentiles.size());
  std::string out = fmt::format("{:=^{}}\n", title, width);
  out += count_line("Successful requests", std::to_string(s.completed));
  out += count_line("Failed requests", std::to_string(s.failed)) + errors_text(s);
  if (s.unfinished > 0) out += count_line("Unfinished requests", std::to_string(s.unfinished));
  if (std::isfinite(options.request_rate)) {
    out += count_line("Request rate asked for (req/s)", number(options.request_rate));
    if (options.burstiness != 1) out += count_line("Burstiness", number(options.burstiness));
  }
  if (options.max_concurrency > 0) {
    out += count_line("Maximum request concurrency", std::to_string(options.max_concurrency));
  }
  out += count_line("Peak concurrent requests", std::to_string(s.max_concurrent_requests));
  out += count_line("Benchmark duration (s)", number(s.duration_s));
  out += count_line("Total input tokens", std::to_string(s.input_tokens));
  out += count_line("Total generated tokens", std::to_string(s.output_tokens));
  out += count_line("Request throughput (req/s)", rate(static_cast<double>(s.completed)));
  if (!options.goodput.empty()) {
    out += count_line("Request goodput (req/s)", rate(static_cast<double>(s.good)));
  }
  out += count_line("Output token throughput (tok/s)", rate(static_cast<double>(s.output_tokens)));
  out += count_line("Total token throughput (tok/s)",
                    rate(static_cast<double>(s.input_tokens + s.output_tokens)));
  if (s.audio_streams > 0) {
    out += count_line("Total audio duration (s)", number(s.audio_s));
    out += count_line("Audio throughput (audio s/s)", rate(s.audio_s));
    out += count_line("Streams without underrun",
                      fmt::format("{} of {}", s.continuous_streams, s.audio_streams));
  }
  out += fmt::format("{:-<{}}\n", "", width);
  return out + rows_text(s) + fmt::format("{:=<{}}\n", "", width);
}

json::object report_json(const LoadOptions& options, const LoadResult& result, const Summary& s,
                         const std::string& date, bool detailed) {
  json::object out{
      {"date", date},
      {"backend", backend_info(options.backend).name},
      {"endpoint_url", fmt::format("{}://{}{}", options.url.secure ? "https" : "http",
                                   options.url.host_header(), options.url.target)},
      {"model_id", result.model},
      {"num_prompts", options.num_prompts},
      {"request_rate", finite_or(options.request_rate, "inf")},
      {"burstiness", options.burstiness},
      {"max_concurrency",
       options.max_concurrency > 0 ? json::value(options.max_concurrency) : json::value(nullptr)},
      {"seed", options.seed},
      {"interrupted", result.interrupted},
      {"duration", s.duration_s},
      {"completed", s.completed},
      {"failed", s.failed},
      {"unfinished", s.unfinished},
      {"max_concurrent_requests", s.max_concurrent_requests},
      {"total_input_tokens", s.input_tokens},
      {"total_output_tokens", s.output_tokens},
      {"request_throughput", s.per_second(static_cast<double>(s.completed))},
      {"output_throughput", s.per_second(static_cast<double>(s.output_tokens))},
      {"total_token_throughput",
       s.per_second(static_cast<double>(s.input_tokens + s.output_tokens))}};
  if (!options.goodput.empty()) {
    json::object limits;
    for (const GoodputLimit& l : options.goodput) limits[goodput_name(l.metric)] = l.limit_ms;
    out["goodput_limits_ms"] = std::move(limits);
    out["request_goodput"] = s.per_second(static_cast<double>(s.good));
  }
  if (s.audio_streams > 0) {
    out["total_audio_duration_s"] = s.audio_s;
    out["audio_throughput"] = s.per_second(s.audio_s);
    out["audio_continuity_ok_rate"] =
        static_cast<double>(s.continuous_streams) / static_cast<double>(s.audio_streams);
  }
  for (const MetricRow& row : s.rows) {
    const std::string name = row.unit.empty() ? row.key : row.key + "_" + row.unit;
    out["mean_" + name] = row.values.mean;
    out["median_" + name] = row.values.median;
    out["std_" + name] = row.values.std;
    out["max_" + name] = row.values.max;
    for (size_t i = 0; i < s.percentiles.size(); ++i) {
      out[percentile_name(s.percentiles[i]) + "_" + name] = row.values.percentiles[i];
    }
  }
  json::object errors;
  for (const auto& [sentence, count] : s.errors) errors[sentence] = count;
  out["errors"] = std::move(errors);
  if (!detailed) return out;
  json::array requests;
  for (const RequestRecord& r : result.records) requests.push_back(detail(r));
  out["requests"] = std::move(requests);
  return out;
}

}  // namespace tutti::bench
