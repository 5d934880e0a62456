#include "apps/bench_serve/goodput.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace tutti::bench {
namespace {

using Metric = GoodputLimit::Metric;

struct Name {
  std::string_view name;
  Metric metric;
};
constexpr Name kNames[] = {{"ttft", Metric::kTtft},
                           {"tpot", Metric::kTpot},
                           {"ttfa", Metric::kTtfa},
                           {"e2e", Metric::kE2e},
                           {"e2el", Metric::kE2e}};  // vLLM's

bool has_text(Backend backend) { return backend != Backend::kSpeech; }
bool has_speech(Backend backend) {
  return backend != Backend::kCompletions && backend != Backend::kChat;
}

Status wrong(std::string sentence) {
  return invalid_argument(std::move(sentence)).with_param("goodput");
}

Result<GoodputLimit> parse_limit(const std::string& text) {
  const size_t colon = text.find(':');
  const std::string_view name = std::string_view(text).substr(0, colon);
  double limit_ms = 0;
  if (colon != std::string::npos) {
    const char* end = text.data() + text.size();
    const auto [at, code] = std::from_chars(text.data() + colon + 1, end, limit_ms);
    if (at != end || code != std::errc() || !std::isfinite(limit_ms)) limit_ms = 0;
  }
  for (const Name& known : kNames) {
    if (known.name == name && limit_ms > 0) return GoodputLimit{known.metric, limit_ms};
  }
  return wrong(
      fmt::format("--goodput has '{}'; it must be ttft:MS, tpot:MS, ttfa:MS or e2e:MS with "
                  "milliseconds above 0",
                  text));
}

// Negative: there is none.
double seconds_of(const RequestRecord& record, Metric metric) {
  switch (metric) {
    case Metric::kTtft:
      return record.ttft_s;
    case Metric::kTpot:
      return record.output_tokens == 1 ? 0 : record.tpot_s();
    case Metric::kTtfa:
      return record.ttfa_s;
    case Metric::kE2e:
      return record.e2el_s;
  }
  return -1;
}

}  // namespace

std::string_view goodput_name(Metric metric) {
  for (const Name& known : kNames) {
    if (known.metric == metric) return known.name;
  }
  return "";
}

Result<std::vector<GoodputLimit>> parse_goodput(const std::vector<std::string>& texts,
                                                Backend backend) {
  std::vector<GoodputLimit> limits;
  for (const std::string& text : texts) {
    TUTTI_ASSIGN_OR_RETURN(const GoodputLimit limit, parse_limit(text));
    const std::string_view name = goodput_name(limit.metric);
    for (const GoodputLimit& other : limits) {
      if (other.metric == limit.metric) return wrong(fmt::format("--goodput has {} twice", name));
    }
    const bool of_text = limit.metric == Metric::kTtft || limit.metric == Metric::kTpot;
    if ((of_text && !has_text(backend)) ||
        (limit.metric == Metric::kTtfa && !has_speech(backend))) {
      return wrong(fmt::format("--goodput has {}; answers of {} have no {}", name,
                               backend_info(backend).name, of_text ? "text" : "speech"));
    }
    limits.push_back(limit);
  }
  return limits;
}

bool keeps(const RequestRecord& record, std::span<const GoodputLimit> limits) {
  for (const GoodputLimit& limit : limits) {
    const double seconds = seconds_of(record, limit.metric);
    if (seconds < 0 || 1e3 * seconds > limit.limit_ms) return false;
  }
  return true;
}

}  // namespace tutti::bench
