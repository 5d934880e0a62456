#include "serve/chat_logprobs.h"

#include <algorithm>
#include <cmath>

#include "serve/json_text.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

json::object token_json(const ModelInfo& model, int32_t id, float logprob) {
  const std::string text = model.token_text(id);
  json::array bytes;
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", valid_utf8(text)},
          {"logprob", logprob_number(logprob)},
          {"bytes", std::move(bytes)}};
}

}  // namespace

double logprob_number(float logprob) { return std::isfinite(logprob) ? logprob : -9999.0; }

json::object chat_logprobs(const ModelInfo& model, std::span<const int32_t> token_ids,
                           const std::vector<std::vector<TokenLogprob>>& logprobs, int32_t top_n) {
  json::array content;
  for (size_t i = 0; i < token_ids.size() && i < logprobs.size(); ++i) {
    // The engine puts the chosen token first, whatever its rank.
    std::vector<TokenLogprob> row = logprobs[i];
    json::object token = token_json(model, token_ids[i], row.front().logprob);
    std::sort(row.begin(), row.end(), [](auto& a, auto& b) { return a.rank < b.rank; });
    json::array top;
    for (const TokenLogprob& entry : row) {
      if (entry.rank <= top_n) top.push_back(token_json(model, entry.token_id, entry.logprob));
    }
    token["top_logprobs"] = std::move(top);
    content.push_back(std::move(token));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

}  // namespace tutti::serve
