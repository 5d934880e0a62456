// Answer: what one request has produced so far, gathered from its messages.
//
// Thread: one at a time (the gateway's).
#pragma once

#include <boost/json.hpp>
#include <map>
#include <string>
#include <vector>

#include "tutti/output.h"

#include "base/clock.h"
#include "serve/model_info.h"

namespace tutti::serve {

struct Answer {
  std::string text;
  std::vector<int32_t> token_ids;
  std::vector<std::vector<TokenLogprob>> logprobs;
  std::vector<float> samples;
  int32_t sample_rate = 0;
  FinishReason finish_reason = FinishReason::kNone;  // of the text
  std::string stop_reason;
  std::map<int32_t, StageMetrics> stages;  // the latest of each stage
  std::map<int32_t, int32_t> replicas;     // of the same stages
  TimePoint last_tokens_at{};              // when tokens came last; for Metrics

  // `keep_samples` false: they have been passed on already.
  void add(const OutputMessage& message, bool keep_samples);
  void add(const StageMetricsMessage& message);
};

// An error when the model has ended an answer without a word. Not when the client has ended it, by
// a stop string or token of his or by a limit.
Status check_not_empty(const Answer& answer);

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t audio_tokens = 0;

  void add(const Answer& answer, const ModelInfo& model);
  boost::json::object chat_json() const;
};

// "stop", "length"; what a client sees for the others: "abort", "error".
std::string finish_reason_text(FinishReason reason);

// The timeline of one request, times relative to its submission: `return_stage_metrics`. While the
// answer comes, what has not happened yet is 0, and the real-time factor null.
boost::json::object stage_metrics_json(const Answer& answer, const ModelInfo& model);

// When it was submitted, on the clock of StageMetrics; 0: not yet.
double submission_s(const Answer& answer);

// Seconds from submission to the first token, first audible sound, end; negative: none.
struct Latencies {
  double ttft_s = -1;
  double ttfa_s = -1;
  double total_s = 0;
  double audio_s = 0;
  double underrun_s = 0;
};
Latencies latencies(const Answer& answer, const ModelInfo& model);

}  // namespace tutti::serve
