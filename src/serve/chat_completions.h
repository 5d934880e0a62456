// POST /v1/chat/completions.
#pragma once

#include "serve/http.h"
#include "serve/services.h"

namespace tutti::serve {

void handle_chat_completions(const Services& services, HttpRequest request, HttpReplyPtr reply);

// The log-probabilities of some tokens in OpenAI's shape: {"content": [...]}.
boost::json::object chat_logprobs(const ModelInfo& model, std::span<const int32_t> token_ids,
                                  const std::vector<std::vector<TokenLogprob>>& logprobs,
                                  int32_t top_n);

}  // namespace tutti::serve
