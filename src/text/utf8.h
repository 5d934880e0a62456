// UTF-8 helpers of the tokenizer and the templates: stepping over code points of valid text, and
// repairing arbitrary bytes. Utf8Repair replaces each maximal invalid part by U+FFFD, as the
// Unicode standard advises (section 3.9) and as Python's errors="replace" and Rust's
// from_utf8_lossy do. *Thread:* values; one owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tutti::text {

// Bytes of the code point that starts with `lead`, in valid UTF-8.
inline size_t utf8_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}
// Code point at `pos` of valid UTF-8.
char32_t utf8_at(std::string_view text, size_t pos);
void utf8_append(std::string& out, char32_t code_point);
size_t utf8_count(std::string_view text);
// Unicode White_Space, and what Python's str.isspace adds to it (U+001C..U+001F) when `python`.
bool is_white_space(char32_t code_point, bool python);

class Utf8Repair {
 public:
  // Appends to `out` what is final after `bytes`; at most 3 bytes of an unfinished sequence stay.
  void push(std::string_view bytes, std::string& out);
  // Ends the text: an unfinished sequence becomes one U+FFFD.
  void flush(std::string& out);
  bool pending() const { return size_ > 0; }

 private:
  void push_byte(unsigned char byte, std::string& out);

  char bytes_[4] = {};
  uint8_t size_ = 0;
  uint8_t need_ = 0;
  // Range of the next continuation byte; narrower than 80..BF after E0, ED, F0 and F4.
  uint8_t low_ = 0x80;
  uint8_t high_ = 0xBF;
};

}  // namespace tutti::text
