#include "serve/answer.h"

#include <algorithm>

namespace tutti::serve {

namespace json = boost::json;

void Answer::add(const OutputMessage& message, bool keep_samples) {
  const StageOutputDelta& delta = message.output;
  text += delta.text;
  token_ids.insert(token_ids.end(), delta.token_ids.begin(), delta.token_ids.end());
  logprobs.insert(logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
  if (delta.audio.sample_rate != 0) sample_rate = delta.audio.sample_rate;
  if (keep_samples) {
    samples.insert(samples.end(), delta.audio.samples.begin(), delta.audio.samples.end());
  }
  if (message.output_type != "audio" && delta.finish_reason != FinishReason::kNone) {
    finish_reason = delta.finish_reason;
    stop_reason = delta.stop_reason;
  }
  stages[message.stage_id] = message.metrics;
  replicas[message.stage_id] = message.replica_id;
}

void Answer::add(const StageMetricsMessage& message) {
  stages[message.stage_id] = message.metrics;
  replicas[message.stage_id] = message.replica_id;
}

Status check_not_empty(const Answer& answer) {
  const bool by_model = answer.finish_reason == FinishReason::kStop && answer.stop_reason.empty();
  if (!answer.text.empty() || !by_model) return {};
  return internal_error("The model ended its answer before its first word.");
}

void Usage::add(const Answer& answer, const ModelInfo& model) {
  for (const auto& [stage, metrics] : answer.stages) {
    if (stage == model.text_stage()) {
      prompt_tokens = std::max(prompt_tokens, metrics.prompt_tokens);
      cached_tokens = std::max(cached_tokens, metrics.cached_tokens);
      completion_tokens += metrics.output_tokens;
    } else if (stage == model.audio_stage()) {
      audio_tokens += metrics.prompt_tokens;
    }
  }
}

json::object Usage::chat_json() const {
  const int64_t completion = completion_tokens + audio_tokens;
  return {{"prompt_tokens", prompt_tokens},
          {"completion_tokens", completion},
          {"total_tokens", prompt_tokens + completion},
          {"prompt_tokens_details", {{"cached_tokens", cached_tokens}}},
          {"completion_tokens_details",
           {{"audio_tokens", audio_tokens}, {"text_tokens", completion_tokens}}}};
}

std::string finish_reason_text(FinishReason reason) {
  return reason == FinishReason::kNone ? "stop" : std::string(finish_reason_name(reason));
}

namespace {

json::value seconds_or_null(double seconds) {
  return seconds < 0 ? json::value(nullptr) : json::value(seconds);
}

}  // namespace

double submission_s(const Answer& answer) {
  double first = 0;
  for (const auto& [stage, metrics] : answer.stages) {
    if (metrics.submitted_s > 0 && (first == 0 || metrics.submitted_s < first)) {
      first = metrics.submitted_s;
    }
  }
  return first;
}

Latencies latencies(const Answer& answer, const ModelInfo& model) {
  Latencies out;
  const double begin = submission_s(answer);
  for (const auto& [stage, metrics] : answer.stages) {
    out.total_s = std::max(out.total_s, metrics.finished_s - begin);
    if (stage == model.text_stage() && metrics.first_output_s > 0) {
      out.ttft_s = metrics.first_output_s - begin;
    }
    if (stage == model.audio_stage() && metrics.audio_s > 0) {
      const double first =
          metrics.first_audio_s > 0 ? metrics.first_audio_s : metrics.first_output_s;
      out.ttfa_s = first - begin;
      out.audio_s = metrics.audio_s;
      out.underrun_s = metrics.underrun_s;
    }
  }
  return out;
}

json::object stage_metrics_json(const Answer& answer, const ModelInfo& model) {
  const Latencies times = latencies(answer, model);
  const double begin = submission_s(answer);
  const auto since = [&](double at) { return at > 0 ? at - begin : 0.0; };
  json::array stages;
  for (const auto& [stage, m] : answer.stages) {
    stages.push_back(
        json::object{{"stage_id", stage},
                     {"model_stage", model.engine().stage_metadata()[stage].model_stage},
                     {"replica_id", answer.replicas.at(stage)},
                     {"submitted_s", since(m.submitted_s)},
                     {"first_scheduled_s", since(m.first_scheduled_s)},
                     {"first_output_s", since(m.first_output_s)},
                     {"finished_s", since(m.finished_s)},
                     {"compute_s", m.compute_s},
                     {"transfer_s", m.transfer_s},
                     {"prompt_tokens", m.prompt_tokens},
                     {"cached_tokens", m.cached_tokens},
                     {"output_tokens", m.output_tokens},
                     {"preemptions", m.preemptions}});
  }
  return {
      {"ttft_s", seconds_or_null(times.ttft_s)},
      {"ttfa_s", seconds_or_null(times.ttfa_s)},
      {"rtf", times.audio_s > 0 && times.total_s > 0 ? json::value(times.total_s / times.audio_s)
                                                     : nullptr},
      {"audio_s", times.audio_s},
      {"underrun_s", times.underrun_s},
      {"total_s", times.total_s},
      {"stages", std::move(stages)}};
}

}  // namespace tutti::serve
