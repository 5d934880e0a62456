// Tokens that stand outside BPE (control tokens, tool tags): found in the text before it is split
// into words, by longest match from the left. *Thread:* immutable after build; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tutti::text {

// Fields as in tokenizer.json's "added_tokens".
struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space behind it
  bool normalized = false;   // searched in the normalized text, not in the raw one
};

// A piece of text between added tokens, or one of them (id >= 0, text empty).
struct Segment {
  std::string_view text;
  int32_t id = -1;
};

class AddedTokenMatcher {
 public:
  // Where two patterns are equal the first added wins. `token` must outlive the matcher.
  void add(std::string_view pattern, const AddedToken* token);
  bool empty() const { return tokens_.empty(); }
  // Appends the segments of `text`; empty ones are left out. Without `parse_special` special tokens
  // are passed over as plain text.
  void split(std::string_view text, bool parse_special, std::vector<Segment>& segments) const;

 private:
  struct Node {
    std::vector<std::pair<uint8_t, uint32_t>> children;  // sorted by byte
    const AddedToken* token = nullptr;
  };
  const AddedToken* longest_match(std::string_view text, size_t pos, size_t& end) const;

  std::vector<Node> nodes_{1};
  std::vector<const AddedToken*> tokens_;
  bool starts_[256] = {};
};

}  // namespace tutti::text
