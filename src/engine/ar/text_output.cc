#include "engine/ar/text_output.h"

#include <algorithm>
#include <limits>

namespace tutti::ar {

TextOutput::TextOutput(std::shared_ptr<const text::Tokenizer> tokenizer,
                       const SamplingParams& params)
    : stops_(params.stop, params.include_stop_str_in_output),
      min_tokens_(params.min_tokens),
      show_end_token_(params.include_stop_str_in_output),
      hides_tokens_(!params.stop.empty() && !params.include_stop_str_in_output) {
  if (tokenizer) detokenizer_.emplace(std::move(tokenizer), params.skip_special_tokens);
}

const std::string* TextOutput::push(int32_t token_id, int64_t count, std::string& shown) {
  if (!detokenizer_) return nullptr;
  const std::string_view text = detokenizer_->push(token_id);
  const size_t before = shown.size();
  const std::string* stop = nullptr;
  if (count > min_tokens_) {
    stop = stops_.push(text, shown);
  } else {
    stops_.pass(text, shown);
  }
  if (hides_tokens_) note_hidden(text.size(), shown.size() - before);
  return stop;
}

// A token has come that gave `text` bytes, and `shown` bytes are shown since.
void TextOutput::note_hidden(size_t text, size_t shown) {
  constexpr size_t kUnknown = std::numeric_limits<size_t>::max();
  text_end_ += text;
  shown_end_ += shown;
  // A token that ends in the middle of a code point ends where that will.
  const bool unfinished = detokenizer_->pending();
  if (text > 0 || !unfinished) {
    for (size_t& end : hidden_ends_) end = std::min(end, text_end_);
  }
  hidden_ends_.push_back(unfinished ? kUnknown : text_end_);
  const auto first = std::find_if(hidden_ends_.begin(), hidden_ends_.end(),
                                  [&](size_t end) { return end > shown_end_; });
  hidden_ends_.erase(hidden_ends_.begin(), first);
}

void TextOutput::finish(std::optional<int32_t> end_token, std::string& shown) {
  if (!detokenizer_) return;
  if (end_token && show_end_token_) stops_.pass(detokenizer_->push(*end_token), shown);
  stops_.flush(shown);
  shown += detokenizer_->flush();
  hidden_ends_.clear();
}

}  // namespace tutti::ar
