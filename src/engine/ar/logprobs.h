// Log-probabilities of a row of raw logits: before penalties, biases and temperature, as vLLM
// reports them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tutti/output.h"

namespace tutti::ar {

// The chosen token first, then the others among the `top_n` likeliest in falling order. Ranks start
// at 1; of equal logits the lower id ranks first.
std::vector<TokenLogprob> token_logprobs(std::span<const float> logits, int32_t chosen,
                                         int32_t top_n);

}  // namespace tutti::ar
