// TextOutput: one sequence's tokens as text to show: detokenized without splitting code points, cut
// at stop strings.
//
// Thread: one owner. A stage without a tokenizer shows no text.
#pragma once

#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tutti/sampling_params.h"

#include "engine/ar/stop_strings.h"
#include "text/detokenizer.h"

namespace tutti::ar {

class TextOutput {
 public:
  TextOutput(std::shared_ptr<const text::Tokenizer> tokenizer, const SamplingParams& params);

  // Adds the text of a token, the count-th of the output, to `shown`. Returns the stop string that
  // ends the output, or null.
  const std::string* push(int32_t token_id, int64_t count, std::string& shown);
  // The output has ended otherwise: shows what was held back. An end token is shown only with
  // include_stop_str_in_output.
  void finish(std::optional<int32_t> end_token, std::string& shown);
  // How many of the newest tokens have text that is not shown: it may yet become a stop string, or
  // was part of the one that has ended the output. None where stop strings are shown.
  int64_t num_hidden_tokens() const { return std::ssize(hidden_ends_); }

 private:
  void note_hidden(size_t text, size_t shown);

  std::optional<text::IncrementalDetokenizer> detokenizer_;
  StopStrings stops_;
  int32_t min_tokens_;
  bool show_end_token_;
  bool hides_tokens_;
  size_t text_end_ = 0;              // bytes of text so far
  size_t shown_end_ = 0;             // of them, bytes that are shown
  std::vector<size_t> hidden_ends_;  // of the hidden tokens: where in the text each one's ends
};

}  // namespace tutti::ar
