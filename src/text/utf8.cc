#include "text/utf8.h"

namespace tutti::text {

namespace {
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
}

char32_t utf8_at(std::string_view text, size_t pos) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[pos + i]); };
  switch (utf8_length(text[pos])) {
    case 1:
      return byte(0);
    case 2:
      return char32_t(byte(0) & 0x1F) << 6 | (byte(1) & 0x3F);
    case 3:
      return char32_t(byte(0) & 0x0F) << 12 | char32_t(byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    default:
      return char32_t(byte(0) & 0x07) << 18 | char32_t(byte(1) & 0x3F) << 12 |
             char32_t(byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  }
}

void utf8_append(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

size_t utf8_count(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

bool is_white_space(char32_t c, bool python) {
  if (c <= 0x20) return c == 0x20 || (c >= 0x09 && c <= 0x0D) || (python && c >= 0x1C && c <= 0x1F);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

void Utf8Repair::push_byte(unsigned char byte, std::string& out) {
  if (size_ > 0) {
    if (byte >= low_ && byte <= high_) {
      bytes_[size_++] = static_cast<char>(byte);
      low_ = 0x80;
      high_ = 0xBF;
      if (size_ == need_) {
        out.append(bytes_, size_);
        size_ = 0;
      }
      return;
    }
    out += kReplacement;
    size_ = 0;
  }
  if (byte < 0x80) {
    out += static_cast<char>(byte);
    return;
  }
  if (byte < 0xC2 || byte > 0xF4) {
    out += kReplacement;
    return;
  }
  need_ = byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
  low_ = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
  high_ = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
  bytes_[0] = static_cast<char>(byte);
  size_ = 1;
}

void Utf8Repair::push(std::string_view bytes, std::string& out) {
  for (const char byte : bytes) push_byte(static_cast<unsigned char>(byte), out);
}

void Utf8Repair::flush(std::string& out) {
  if (size_ > 0) out += kReplacement;
  size_ = 0;
}

}  // namespace tutti::text
