#include "tutti/sampling_params.h"

#include <fmt/format.h>

#include <cmath>

namespace tutti {

namespace {

constexpr int32_t kMaxLogprobs = 20;  // vLLM's default max_logprobs, and OpenAI's limit

template <typename T>
Status out_of_range(const char* field, T value, const char* allowed) {
  return invalid_argument(fmt::format("`{}` is {}; it must be {}.", field, value, allowed))
      .with_param(field);
}

// Comparisons are written so that NaN fails them.
bool within(float value, float low, float high) { return value >= low && value <= high; }

Status validate_distribution(const SamplingParams& p) {
  if (!(p.temperature >= 0 && std::isfinite(p.temperature)))
    return out_of_range("temperature", p.temperature, "0 (greedy) or larger");
  if (p.top_k < -1) return out_of_range("top_k", p.top_k, "1 or larger, or 0 or -1 for all tokens");
  if (!(p.top_p > 0 && p.top_p <= 1))
    return out_of_range("top_p", p.top_p, "larger than 0 and at most 1");
  if (!within(p.min_p, 0, 1)) return out_of_range("min_p", p.min_p, "between 0 and 1");
  if (!(p.repetition_penalty > 0 && std::isfinite(p.repetition_penalty)))
    return out_of_range("repetition_penalty", p.repetition_penalty, "larger than 0");
  if (!within(p.frequency_penalty, -2, 2))
    return out_of_range("frequency_penalty", p.frequency_penalty, "between -2 and 2");
  if (!within(p.presence_penalty, -2, 2))
    return out_of_range("presence_penalty", p.presence_penalty, "between -2 and 2");
  return {};
}

Status validate_logits(const SamplingParams& p) {
  if (p.logprobs && (*p.logprobs < 0 || *p.logprobs > kMaxLogprobs))
    return out_of_range("logprobs", *p.logprobs, "between 0 and 20");
  for (const int32_t id : p.forced_token_ids) {
    if (id < 0) return out_of_range("forced_token_ids", id, "a list of ids, which are 0 or larger");
  }
  for (const auto& [id, bias] : p.logit_bias) {
    if (id < 0)
      return out_of_range("logit_bias", id, "a map from token ids, which are 0 or larger");
    if (!within(bias, -100, 100))
      return invalid_argument(
                 fmt::format("`logit_bias` of token {} is {}; it must be between -100 and 100.", id,
                             bias))
          .with_param("logit_bias");
  }
  return {};
}

Status validate_stopping(const SamplingParams& p) {
  if (p.max_tokens && *p.max_tokens < 1)
    return out_of_range("max_tokens", *p.max_tokens, "1 or larger");
  if (p.min_tokens < 0) return out_of_range("min_tokens", p.min_tokens, "0 or larger");
  if (p.max_tokens && p.min_tokens > *p.max_tokens)
    return invalid_argument(fmt::format("`min_tokens` is {}; it must be at most `max_tokens`, {}.",
                                        p.min_tokens, *p.max_tokens))
        .with_param("min_tokens");
  for (const int32_t id : p.stop_token_ids) {
    if (id < 0)
      return out_of_range("stop_token_ids", id, "a list of token ids, which are 0 or larger");
  }
  for (const std::string& stop : p.stop) {
    if (stop.empty())
      return invalid_argument(
                 "`stop` holds an empty string; a stop string needs at least one byte.")
          .with_param("stop");
  }
  return {};
}

}  // namespace

Status SamplingParams::validate() const {
  TUTTI_RETURN_IF_ERROR(validate_distribution(*this));
  TUTTI_RETURN_IF_ERROR(validate_logits(*this));
  return validate_stopping(*this);
}

}  // namespace tutti
