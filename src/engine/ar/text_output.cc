#include "engine/ar/text_output.h"

namespace tutti::ar {

TextOutput::TextOutput(std::shared_ptr<const text::Tokenizer> tokenizer,
                       const SamplingParams& params)
    : stops_(params.stop, params.include_stop_str_in_output),
      min_tokens_(params.min_tokens),
      show_end_token_(params.include_stop_str_in_output) {
  if (tokenizer) detokenizer_.emplace(std::move(tokenizer), params.skip_special_tokens);
}

const std::string* TextOutput::push(int32_t token_id, int64_t count, std::string& shown) {
  if (!detokenizer_) return nullptr;
  const std::string_view text = detokenizer_->push(token_id);
  if (count > min_tokens_) return stops_.push(text, shown);
  stops_.pass(text, shown);
  return nullptr;
}

void TextOutput::finish(std::optional<int32_t> end_token, std::string& shown) {
  if (!detokenizer_) return;
  if (end_token && show_end_token_) stops_.pass(detokenizer_->push(*end_token), shown);
  stops_.flush(shown);
  shown += detokenizer_->flush();
}

}  // namespace tutti::ar
