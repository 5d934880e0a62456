// Log probabilities of tokens as JSON has them.
//
// Thread: any.
#pragma once

#include <boost/json.hpp>
#include <span>
#include <vector>

#include "tutti/output.h"

#include "serve/model_info.h"

namespace tutti::serve {

// JSON has no infinities: an impossible token is as unlikely as -9999.
double logprob_number(float logprob);

// The log-probabilities of some tokens as chat completions and responses have them: {"content":
// [...]}.
boost::json::object chat_logprobs(const ModelInfo& model, std::span<const int32_t> token_ids,
                                  const std::vector<std::vector<TokenLogprob>>& logprobs,
                                  int32_t top_n);

}  // namespace tutti::serve
