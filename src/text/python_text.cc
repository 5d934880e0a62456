#include "text/python_text.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <charconv>
#include <cmath>

#include "text/utf8.h"

namespace tutti::text::python {

namespace {

int category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

bool is_letter(int cat) { return cat >= UTF8PROC_CATEGORY_LU && cat <= UTF8PROC_CATEGORY_LO; }
bool is_printable(char32_t c) {
  if (c == ' ') return true;
  const int cat = category(c);
  return !(cat == UTF8PROC_CATEGORY_CN || cat >= UTF8PROC_CATEGORY_ZS);
}
bool is_cased(char32_t c) {
  const auto signed_c = static_cast<utf8proc_int32_t>(c);
  const int cat = category(c);
  return cat == UTF8PROC_CATEGORY_LU || cat == UTF8PROC_CATEGORY_LL ||
         cat == UTF8PROC_CATEGORY_LT || utf8proc_toupper(signed_c) != signed_c ||
         utf8proc_tolower(signed_c) != signed_c;
}

// Upper cases of more than one code point (Unicode's SpecialCasing.txt; Greek with iota is left
// out).
std::string_view long_upper(char32_t c) {
  static constexpr std::pair<char32_t, std::string_view> kTable[] = {
      {0xDF, "SS"},
      {0x149, "\u02BCN"},
      {0x1F0, "J\u030C"},
      {0x390, "\u0399\u0308\u0301"},
      {0x3B0, "\u03A5\u0308\u0301"},
      {0x587, "\u0535\u0552"},
      {0x1E96, "H\u0331"},
      {0x1E97, "T\u0308"},
      {0x1E98, "W\u030A"},
      {0x1E99, "Y\u030A"},
      {0x1E9A, "A\u02BE"},
      {0xFB00, "FF"},
      {0xFB01, "FI"},
      {0xFB02, "FL"},
      {0xFB03, "FFI"},
      {0xFB04, "FFL"},
      {0xFB05, "ST"},
      {0xFB06, "ST"},
  };
  const auto found = std::find_if(std::begin(kTable), std::end(kTable),
                                  [&](const auto& row) { return row.first == c; });
  return found == std::end(kTable) ? std::string_view() : found->second;
}

void append_lower(std::string& out, char32_t c) {
  if (c == 0x130) {
    out += "i\u0307";
  } else {
    utf8_append(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
}

// Upper case, or with `title` that of the first letter only where the mapping is long.
void append_upper(std::string& out, char32_t c, bool title) {
  const std::string_view mapping = long_upper(c);
  const auto signed_c = static_cast<utf8proc_int32_t>(c);
  if (mapping.empty()) {
    utf8_append(out, static_cast<char32_t>(title ? utf8proc_totitle(signed_c)
                                                 : utf8proc_toupper(signed_c)));
  } else if (title && c != 0x149) {
    const size_t first = utf8_length(mapping[0]);
    out += mapping.substr(0, first);
    for (size_t pos = first; pos < mapping.size(); pos += utf8_length(mapping[pos]))
      append_lower(out, utf8_at(mapping, pos));
  } else {
    out += mapping;
  }
}

template <typename Visit>
void for_each_code_point(std::string_view text, Visit visit) {
  for (size_t pos = 0; pos < text.size(); pos += utf8_length(text[pos])) visit(utf8_at(text, pos));
}

bool contains(std::string_view chars, char32_t c) {
  for (size_t pos = 0; pos < chars.size(); pos += utf8_length(chars[pos])) {
    if (utf8_at(chars, pos) == c) return true;
  }
  return false;
}

size_t last_start(std::string_view text, size_t end) {
  size_t pos = end - 1;
  while (pos > 0 && (static_cast<unsigned char>(text[pos]) & 0xC0) == 0x80) --pos;
  return pos;
}

}  // namespace

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto result =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  std::string_view text(buffer, static_cast<size_t>(result.ptr - buffer));
  const size_t e = text.find('e');
  int exponent = 0;
  const char* digits_of_exponent = text.data() + e + (text[e + 1] == '+' ? 2 : 1);
  std::from_chars(digits_of_exponent, text.data() + text.size(), exponent);
  const bool negative = text[0] == '-';
  std::string digits;
  for (const char c : text.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  std::string out = negative ? "-" : "";
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (count > 1) out += "." + digits.substr(1);
    return out + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0)
    return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1)
    return out + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  const auto whole = static_cast<size_t>(exponent + 1);
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

void append_str_repr(std::string& out, std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  out += quote;
  for_each_code_point(text, [&](char32_t c) {
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (is_printable(c)) {
      utf8_append(out, c);
    } else if (c < 0x100) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
    } else if (c < 0x10000) {
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    } else {
      out += fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
    }
  });
  out += quote;
}

void append_json_string(std::string& out, std::string_view text, bool ensure_ascii) {
  out += '"';
  const auto escape = [&](uint32_t unit) { out += fmt::format("\\u{:04x}", unit); };
  for (size_t pos = 0; pos < text.size();) {
    const auto byte = static_cast<unsigned char>(text[pos]);
    if (byte >= 0x7F && ensure_ascii) {
      const char32_t c = utf8_at(text, pos);
      pos += utf8_length(text[pos]);
      if (c < 0x10000) {
        escape(c);
      } else {
        escape(0xD800 + ((c - 0x10000) >> 10));
        escape(0xDC00 + ((c - 0x10000) & 0x3FF));
      }
      continue;
    }
    ++pos;
    switch (byte) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\b':
        out += "\\b";
        break;
      default:
        if (byte < 0x20) {
          escape(byte);
        } else {
          out += static_cast<char>(byte);
        }
    }
  }
  out += '"';
}

std::string upper(std::string_view text) {
  std::string out;
  for_each_code_point(text, [&](char32_t c) { append_upper(out, c, false); });
  return out;
}

namespace {

// A sigma that ends a word is written otherwise: after a letter, and before none (marks aside).
bool is_final_sigma(std::string_view text, size_t pos) {
  const auto ignorable = [](char32_t c) {
    const int cat = category(c);
    return cat == UTF8PROC_CATEGORY_MN || cat == UTF8PROC_CATEGORY_ME ||
           cat == UTF8PROC_CATEGORY_CF || cat == UTF8PROC_CATEGORY_LM ||
           cat == UTF8PROC_CATEGORY_SK || c == '\'' || c == '.' || c == ':' || c == 0xB7 ||
           c == 0x2019;
  };
  bool letter_before = false;
  for (size_t end = pos; end > 0;) {
    end = last_start(text, end);
    const char32_t c = utf8_at(text, end);
    if (ignorable(c)) continue;
    letter_before = is_cased(c);
    break;
  }
  if (!letter_before) return false;
  for (size_t next = pos + utf8_length(text[pos]); next < text.size();
       next += utf8_length(text[next])) {
    const char32_t c = utf8_at(text, next);
    if (!ignorable(c)) return !is_cased(c);
  }
  return true;
}

}  // namespace

std::string lower(std::string_view text) {
  std::string out;
  for (size_t pos = 0; pos < text.size(); pos += utf8_length(text[pos])) {
    const char32_t c = utf8_at(text, pos);
    if (c == 0x3A3 && is_final_sigma(text, pos)) {
      out += "\u03C2";
    } else {
      append_lower(out, c);
    }
  }
  return out;
}

std::string title(std::string_view text) {
  std::string out;
  bool in_word = false;
  for_each_code_point(text, [&](char32_t c) {
    in_word ? append_lower(out, c) : append_upper(out, c, true);
    in_word = is_cased(c);
  });
  return out;
}

std::string capitalize(std::string_view text) {
  std::string out;
  bool first = true;
  for_each_code_point(text, [&](char32_t c) {
    first ? append_upper(out, c, true) : append_lower(out, c);
    first = false;
  });
  return out;
}

std::string swapcase(std::string_view text) {
  std::string out;
  for_each_code_point(text, [&](char32_t c) {
    category(c) == UTF8PROC_CATEGORY_LU ? append_lower(out, c) : append_upper(out, c, false);
  });
  return out;
}

std::string_view strip(std::string_view text, const std::string_view* chars, bool left,
                       bool right) {
  const auto taken = [&](char32_t c) {
    return chars == nullptr ? is_white_space(c, true) : contains(*chars, c);
  };
  while (left && !text.empty() && taken(utf8_at(text, 0))) text.remove_prefix(utf8_length(text[0]));
  while (right && !text.empty()) {
    const size_t last = last_start(text, text.size());
    if (!taken(utf8_at(text, last))) break;
    text = text.substr(0, last);
  }
  return text;
}

namespace {

std::vector<std::string_view> split_white_space(std::string_view text, int64_t max,
                                                bool from_right) {
  std::vector<std::string_view> parts;
  text = strip(text, nullptr, !from_right, from_right);
  while (!text.empty()) {
    if (max >= 0 && static_cast<int64_t>(parts.size()) == max) {
      parts.push_back(text);
      break;
    }
    if (from_right) {
      size_t begin = text.size();
      while (begin > 0 && !is_white_space(utf8_at(text, last_start(text, begin)), true))
        begin = last_start(text, begin);
      parts.push_back(text.substr(begin));
      text = strip(text.substr(0, begin), nullptr, false, true);
    } else {
      size_t end = 0;
      while (end < text.size() && !is_white_space(utf8_at(text, end), true))
        end += utf8_length(text[end]);
      parts.push_back(text.substr(0, end));
      text = strip(text.substr(end), nullptr, true, false);
    }
  }
  return parts;
}

}  // namespace

std::vector<std::string_view> split(std::string_view text, const std::string_view* separator,
                                    int64_t max, bool from_right) {
  std::vector<std::string_view> parts;
  if (separator == nullptr) {
    parts = split_white_space(text, max, from_right);
  } else {
    while (max < 0 || static_cast<int64_t>(parts.size()) < max) {
      const size_t at = from_right ? text.rfind(*separator) : text.find(*separator);
      if (at == std::string_view::npos) break;
      parts.push_back(from_right ? text.substr(at + separator->size()) : text.substr(0, at));
      text = from_right ? text.substr(0, at) : text.substr(at + separator->size());
    }
    parts.push_back(text);
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  const auto is_break = [](char32_t c) {
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
  };
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t pos = 0; pos < text.size();) {
    const char32_t c = utf8_at(text, pos);
    const size_t end = pos;
    pos += utf8_length(text[pos]);
    if (!is_break(c)) continue;
    if (c == '\r' && pos < text.size() && text[pos] == '\n') ++pos;
    lines.push_back(text.substr(begin, (keep_ends ? pos : end) - begin));
    begin = pos;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to,
                    int64_t max) {
  std::string out;
  int64_t done = 0;
  size_t pos = 0;
  if (from.empty()) {  // between all code points, as in Python
    while (max < 0 || done < max) {
      out += to;
      ++done;
      if (pos >= text.size()) return out;
      const size_t length = utf8_length(text[pos]);
      out += text.substr(pos, length);
      pos += length;
    }
    return out += text.substr(pos);
  }
  while (max < 0 || done < max) {
    const size_t at = text.find(from, pos);
    if (at == std::string_view::npos) break;
    out += text.substr(pos, at - pos);
    out += to;
    pos = at + from.size();
    ++done;
  }
  return out += text.substr(pos);
}

bool all_of_class(std::string_view text, CharClass which) {
  bool all = true;
  bool any = false;
  for_each_code_point(text, [&](char32_t c) {
    const int cat = category(c);
    const bool number = cat >= UTF8PROC_CATEGORY_ND && cat <= UTF8PROC_CATEGORY_NO;
    switch (which) {
      case CharClass::kAlpha:
        any = true;
        all = all && is_letter(cat);
        break;
      case CharClass::kDigit:
        any = true;
        all = all && cat == UTF8PROC_CATEGORY_ND;
        break;
      case CharClass::kNumeric:
        any = true;
        all = all && number;
        break;
      case CharClass::kAlnum:
        any = true;
        all = all && (is_letter(cat) || number);
        break;
      case CharClass::kSpace:
        any = true;
        all = all && is_white_space(c, true);
        break;
      case CharClass::kLower:
      case CharClass::kUpper: {
        if (!is_cased(c)) break;
        any = true;
        const bool is_lower = cat == UTF8PROC_CATEGORY_LL;
        all = all && (which == CharClass::kLower ? is_lower : cat == UTF8PROC_CATEGORY_LU);
        break;
      }
    }
  });
  return all && any;
}

}  // namespace tutti::text::python
