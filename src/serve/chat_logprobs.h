// Log probabilities of tokens as chat completions and responses have them.
//
// Thread: any.
#pragma once

#include <boost/json.hpp>
#include <span>
#include <vector>

#include "tutti/output.h"

#include "serve/model_info.h"

namespace tutti::serve {

// The log-probabilities of some tokens in OpenAI's shape: {"content": [...]}.
boost::json::object chat_logprobs(const ModelInfo& model, std::span<const int32_t> token_ids,
                                  const std::vector<std::vector<TokenLogprob>>& logprobs,
                                  int32_t top_n);

}  // namespace tutti::serve
