// Cuts a template into tokens, with Jinja's white space control as Hugging Face sets it
// (trim_blocks, lstrip_blocks; one newline at the end of the template is dropped).
// *Thread:* any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tutti/status.h"

namespace tutti::text::jinja {

enum class TokenKind {
  kText,
  kOutputBegin,
  kOutputEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOp,
  kEnd
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;  // unescaped for kString
  int line = 1;
};

// "Chat template, line 3: <what>."
Status template_error(StatusCode code, int line, std::string_view what);

Result<std::vector<Token>> tokenize(std::string_view source);

}  // namespace tutti::text::jinja
