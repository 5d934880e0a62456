#include "serve/json_text.h"

#include <algorithm>

#include "base/strings.h"

namespace tutti::serve {

std::string valid_utf8(std::string_view text) {
  if (is_valid_utf8(text)) return std::string(text);
  // Byte by byte: what cannot stand alone is replaced.
  std::string repaired;
  for (size_t i = 0; i < text.size();) {
    size_t length = 1;
    while (length < 4 && i + length < text.size() && !is_valid_utf8(text.substr(i, length)))
      ++length;
    if (is_valid_utf8(text.substr(i, length))) {
      repaired.append(text.substr(i, length));
      i += length;
    } else {
      repaired.append("\xEF\xBF\xBD");
      ++i;
    }
  }
  return repaired;
}

size_t num_characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

void append_json_string(std::string& out, std::string_view text) {
  std::string repaired;
  if (!is_valid_utf8(text)) text = repaired = valid_utf8(text);
  constexpr char kHex[] = "0123456789abcdef";
  out.push_back('"');
  for (const char c : text) {
    switch (c) {
      case '"':
        out.append("\\\"");
        break;
      case '\\':
        out.append("\\\\");
        break;
      case '\n':
        out.append("\\n");
        break;
      case '\r':
        out.append("\\r");
        break;
      case '\t':
        out.append("\\t");
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out.append("\\u00");
          out.push_back(kHex[static_cast<unsigned char>(c) >> 4]);
          out.push_back(kHex[c & 15]);
        } else {
          out.push_back(c);
        }
    }
  }
  out.push_back('"');
}

void append_base64(std::string& out, std::span<const std::byte> bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const size_t begin = out.size();
  out.resize(begin + (bytes.size() + 2) / 3 * 4);
  char* to = out.data() + begin;
  const auto at = [&](size_t i) { return std::to_integer<uint32_t>(bytes[i]); };
  size_t i = 0;
  for (; i + 2 < bytes.size(); i += 3) {
    const uint32_t group = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
    *to++ = kDigits[group >> 18];
    *to++ = kDigits[group >> 12 & 63];
    *to++ = kDigits[group >> 6 & 63];
    *to++ = kDigits[group & 63];
  }
  if (i == bytes.size()) return;
  const bool two = i + 1 < bytes.size();
  const uint32_t group = at(i) << 16 | (two ? at(i + 1) << 8 : 0);
  *to++ = kDigits[group >> 18];
  *to++ = kDigits[group >> 12 & 63];
  *to++ = two ? kDigits[group >> 6 & 63] : '=';
  *to++ = '=';
}

}  // namespace tutti::serve
