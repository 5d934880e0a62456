// Regular expressions of tokenizer files: written for Oniguruma (what Hugging Face tokenizers
// runs), run by PCRE2 with JIT. The dialects' differences are translated or refused, never ignored.
// *Thread:* immutable after compile; any thread. *Invariants:* subjects are valid UTF-8.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tutti/status.h"

namespace tutti::text {

struct Span {
  size_t begin = 0;
  size_t end = 0;
};

// The same expression in PCRE2's dialect. \s is White_Space (PCRE2's own adds U+180E), \w counts
// marks and connectors, (?m) means dot-matches-newline, ^ and $ are line anchors.
Result<std::string> translate_oniguruma(std::string_view pattern);

class Regex {
 public:
  static Result<Regex> compile(std::string_view oniguruma_pattern);
  static Result<Regex> literal(std::string_view text);

  // Finds the first match at or after `from`; false when there is none. An error when matching
  // exceeds PCRE2's backtracking limit.
  Result<bool> find(std::string_view subject, size_t from, Span& match) const;
  // All matches, left to right, as an iterator of Rust's onig crate yields them.
  Status find_all(std::string_view subject, std::vector<Span>& matches) const;

 private:
  struct FreeCode {
    void operator()(void* code) const;
  };
  std::unique_ptr<void, FreeCode> code_;
};

}  // namespace tutti::text
