// Tokenization: tokenization_kwargs of a request.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tutti/status.h"

namespace tutti {

struct Tokenization {
  std::optional<bool> add_special_tokens;
  // Keep the last so many tokens of the prompt; -1: as many as the context holds.
  std::optional<int64_t> truncate_prompt_tokens;
};

// `kwargs_json`: a JSON object, or empty. An unknown key is an error that names the nearest one.
Result<Tokenization> parse_tokenization(const std::string& kwargs_json);

}  // namespace tutti
