// Turns one sequence's ids into text as they come, never splitting a code point: what push()
// returns is final, and all pieces together equal Tokenizer::decode of all ids. *Thread:* one
// owner. *Ownership:* shares the tokenizer; a returned view lives until the next call.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "text/tokenizer.h"
#include "text/utf8.h"

namespace tutti::text {

class IncrementalDetokenizer {
 public:
  explicit IncrementalDetokenizer(std::shared_ptr<const Tokenizer> tokenizer,
                                  bool skip_special_tokens = true)
      : tokenizer_(std::move(tokenizer)), skip_special_tokens_(skip_special_tokens) {}

  // The text that `id` makes final; empty while a code point is unfinished.
  std::string_view push(int32_t id) {
    piece_.clear();
    if (!(skip_special_tokens_ && tokenizer_->is_special(id))) {
      repair_.push(tokenizer_->token_bytes(id), piece_);
    }
    return piece_;
  }
  // Ends the sequence: an unfinished code point becomes U+FFFD. A new sequence may follow.
  std::string_view flush() {
    piece_.clear();
    repair_.flush(piece_);
    return piece_;
  }
  // True while bytes wait for the rest of their code point.
  bool pending() const { return repair_.pending(); }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_tokens_;
  Utf8Repair repair_;
  std::string piece_;
};

}  // namespace tutti::text
