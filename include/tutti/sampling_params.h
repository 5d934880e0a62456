// SamplingParams: how one stage of one request chooses tokens. Names and meanings are vLLM's.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tutti/status.h"

namespace tutti {

struct SamplingParams {
  // 0 is greedy: the largest logit, the lower id on ties.
  float temperature = 1.0f;
  // Keep the top_k largest logits; 0 or -1 keeps all.
  int32_t top_k = 0;
  // Keep the smallest set of tokens whose probability reaches top_p; (0, 1].
  float top_p = 1.0f;
  // Drop tokens less likely than min_p times the likeliest; [0, 1].
  float min_p = 0.0f;
  // Divides positive and multiplies negative logits of tokens seen in prompt or output; > 0.
  float repetition_penalty = 1.0f;
  // Subtracted per occurrence / once per token of the output; [-2, 2].
  float frequency_penalty = 0.0f;
  float presence_penalty = 0.0f;
  // Same seed, same parameters, same prompt: same tokens, whatever else is in the batch.
  std::optional<uint64_t> seed;
  // Most tokens to produce; none: up to the model's context.
  std::optional<int32_t> max_tokens;
  // End tokens and stop strings are not honoured before so many tokens.
  int32_t min_tokens = 0;
  bool ignore_eos = false;
  std::vector<int32_t> stop_token_ids;
  std::vector<std::string> stop;
  bool include_stop_str_in_output = false;
  bool skip_special_tokens = true;
  // Report so many of the likeliest tokens with their log-probabilities; 0 reports the chosen one.
  std::optional<int32_t> logprobs;
  // Added to the logits of these ids; [-100, 100].
  std::map<int32_t, float> logit_bias;
  // The output begins with these, whatever the model would choose; later tokens are chosen as ever.
  std::vector<int32_t> forced_token_ids;

  // OK, or which field is out of range, what it is and what is allowed; param() names the field.
  Status validate() const;
};

}  // namespace tutti
