#include "text/jinja_lexer.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/utf8.h"

namespace tutti::text::jinja {

Status template_error(StatusCode code, int line, std::string_view what) {
  return Status(code, fmt::format("Chat template, line {}: {}.", line, what));
}

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool is_name_char(char c) { return is_name_start(c) || is_digit(c); }
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// \r\n and \r become \n, and one newline at the end goes, as Jinja reads its sources.
std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalize_newlines(source)), in_(source_) {}

  Result<std::vector<Token>> run() {
    while (pos_ < in_.size()) TUTTI_RETURN_IF_ERROR(text_then_tag());
    push(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  void push(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  Status fail(std::string_view what) const {
    return template_error(StatusCode::kInvalidArgument, line_, what);
  }
  bool at(std::string_view text) const { return in_.substr(pos_, text.size()) == text; }
  void advance(size_t count) {
    line_ += static_cast<int>(std::count(in_.begin() + static_cast<ptrdiff_t>(pos_),
                                         in_.begin() + static_cast<ptrdiff_t>(pos_ + count), '\n'));
    pos_ += count;
    if (count > 0) line_starting_ = in_[pos_ - 1] == '\n';
  }
  void skip_spaces() {
    while (pos_ < in_.size() && is_space(in_[pos_])) advance(1);
  }

  size_t next_tag() const {
    for (size_t at = in_.find('{', pos_); at != std::string_view::npos;
         at = in_.find('{', at + 1)) {
      if (at + 1 < in_.size() && (in_[at + 1] == '{' || in_[at + 1] == '%' || in_[at + 1] == '#'))
        return at;
    }
    return std::string_view::npos;
  }

  // What of `text` stays before a tag with this sign ('-', '+' or another character).
  std::string_view keep(std::string_view text, char sign, bool output) const {
    if (sign == '-') {
      while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
      return text;
    }
    if (sign == '+' || output) return text;
    const size_t line_begin = text.rfind('\n') + 1;  // npos + 1 is 0
    if (line_begin == 0 && !line_starting_) return text;
    const std::string_view last_line = text.substr(line_begin);
    if (!last_line.empty() && std::all_of(last_line.begin(), last_line.end(), is_space))
      return text.substr(0, line_begin);
    return text;
  }

  void push_text(std::string_view text) {
    if (!text.empty()) push(TokenKind::kText, std::string(text));
  }

  Status text_then_tag() {
    const size_t tag = next_tag();
    if (tag == std::string_view::npos) {
      push_text(in_.substr(pos_));
      advance(in_.size() - pos_);
      return {};
    }
    const char kind = in_[tag + 1];
    const char sign = tag + 2 < in_.size() ? in_[tag + 2] : ' ';
    push_text(keep(in_.substr(pos_, tag - pos_), sign, kind == '{'));
    advance(tag - pos_);
    if (kind == '#') return comment();
    if (kind == '%' && raw_tag_end(pos_, "raw") != 0) return raw();
    push(kind == '{' ? TokenKind::kOutputBegin : TokenKind::kBlockBegin, "");
    advance(sign == '-' || sign == '+' ? 3 : 2);
    return inside(kind == '{');
  }

  // End of a tag of the form {%- word -%} that begins at `begin`, or 0.
  size_t raw_tag_end(size_t begin, std::string_view word) const {
    size_t at = begin + 2;
    if (at < in_.size() && (in_[at] == '-' || in_[at] == '+')) ++at;
    while (at < in_.size() && is_space(in_[at])) ++at;
    if (in_.substr(at, word.size()) != word) return 0;
    at += word.size();
    while (at < in_.size() && is_space(in_[at])) ++at;
    if (at < in_.size() && (in_[at] == '-' || (in_[at] == '+' && word == "endraw"))) ++at;
    return in_.substr(at, 2) == "%}" ? at + 2 : 0;
  }

  Status raw() {
    size_t begin = raw_tag_end(pos_, "raw");
    const bool strip = in_[begin - 3] == '-';
    while (strip && begin < in_.size() && is_space(in_[begin])) ++begin;
    advance(begin - pos_);
    for (size_t at = in_.find("{%", pos_); at != std::string_view::npos;
         at = in_.find("{%", at + 1)) {
      const size_t end = raw_tag_end(at, "endraw");
      if (end == 0) continue;
      push_text(keep(in_.substr(pos_, at - pos_), in_[at + 2], false));
      advance(end - 2 - pos_);
      return close_tag(2);
    }
    return fail("a raw block has no endraw");
  }

  Status comment() {
    const size_t end = in_.find("#}", pos_ + 2);
    if (end == std::string_view::npos) return fail("a comment has no end");
    advance(end - pos_);
    return close_tag(2);
  }

  // Passes the two closing characters, minding the sign before them and trim_blocks.
  Status close_tag(size_t size) {
    const char sign = in_[pos_ - 1];
    advance(size);
    if (sign == '-') {
      skip_spaces();
    } else if (sign != '+' && pos_ < in_.size() && in_[pos_] == '\n') {
      advance(1);
    }
    return {};
  }

  // At the end of an output or block tag: its length with the sign, or 0.
  size_t tag_end(bool output) const {
    const std::string_view end = output ? "}}" : "%}";
    if (at(end)) return 2;
    if (pos_ + 3 <= in_.size() && (in_[pos_] == '-' || (in_[pos_] == '+' && !output)) &&
        in_.substr(pos_ + 1, 2) == end) {
      return 3;
    }
    return 0;
  }

  Status inside(bool output) {
    std::string open;  // brackets awaiting their closing ones
    while (true) {
      skip_spaces();
      if (pos_ >= in_.size())
        return fail(output ? "an output tag '{{' has no end" : "a block tag '{%' has no end");
      const size_t end = open.empty() ? tag_end(output) : 0;
      if (end != 0) {
        push(output ? TokenKind::kOutputEnd : TokenKind::kBlockEnd, "");
        if (end == 3) advance(1);
        if (!output) return close_tag(2);
        const bool strip = end == 3;
        advance(2);
        if (strip) skip_spaces();
        return {};
      }
      TUTTI_RETURN_IF_ERROR(token(open));
    }
  }

  Status token(std::string& open) {
    const char c = in_[pos_];
    if (is_name_start(c)) {
      size_t end = pos_;
      while (end < in_.size() && is_name_char(in_[end])) ++end;
      push(TokenKind::kName, std::string(in_.substr(pos_, end - pos_)));
      advance(end - pos_);
      return {};
    }
    if (is_digit(c)) return number();
    if (c == '\'' || c == '"') return string(c);
    for (const std::string_view op : {"//", "**", "==", "!=", ">=", "<="}) {
      if (at(op)) return push_op(op);
    }
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos) {
      return fail(fmt::format("unexpected character '{}'", in_.substr(pos_, utf8_length(c))));
    }
    if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty() || open.back() != c) return fail(fmt::format("unexpected '{}'", c));
      open.pop_back();
    }
    return push_op(in_.substr(pos_, 1));
  }

  Status push_op(std::string_view op) {
    push(TokenKind::kOp, std::string(op));
    advance(op.size());
    return {};
  }

  Status number() {
    size_t end = pos_;
    const auto digits = [&] {
      while (end < in_.size() && (is_digit(in_[end]) || (in_[end] == '_' && end + 1 < in_.size() &&
                                                         is_digit(in_[end + 1]))))
        ++end;
    };
    TokenKind kind = TokenKind::kInteger;
    digits();
    if (end + 1 < in_.size() && in_[end] == '.' && is_digit(in_[end + 1])) {
      kind = TokenKind::kFloat;
      ++end;
      digits();
    }
    size_t exponent = end;
    if (exponent < in_.size() && (in_[exponent] == 'e' || in_[exponent] == 'E')) {
      ++exponent;
      if (exponent < in_.size() && (in_[exponent] == '+' || in_[exponent] == '-')) ++exponent;
      if (exponent < in_.size() && is_digit(in_[exponent])) {
        kind = TokenKind::kFloat;
        end = exponent;
        digits();
      }
    }
    if (end < in_.size() && is_name_char(in_[end]))
      return fail(fmt::format("the number {} runs into a name", in_.substr(pos_, end - pos_)));
    std::string text(in_.substr(pos_, end - pos_));
    std::erase(text, '_');
    push(kind, std::move(text));
    advance(end - pos_);
    return {};
  }

  Status string(char quote) {
    size_t end = pos_ + 1;
    while (end < in_.size() && in_[end] != quote) end += in_[end] == '\\' ? 2 : 1;
    if (end >= in_.size()) return fail("a string has no end");
    std::string text;
    TUTTI_RETURN_IF_ERROR(unescape(in_.substr(pos_ + 1, end - pos_ - 1), text));
    push(TokenKind::kString, std::move(text));
    advance(end + 1 - pos_);
    return {};
  }

  // Python's escapes; an unknown one stays as written.
  Status unescape(std::string_view in, std::string& out) const {
    static constexpr std::string_view kFrom = "abfnrtv\\'\"";
    static constexpr std::string_view kTo = "\a\b\f\n\r\t\v\\'\"";
    for (size_t i = 0; i < in.size(); ++i) {
      if (in[i] != '\\' || i + 1 >= in.size()) {
        out += in[i];
        continue;
      }
      const char c = in[++i];
      const size_t simple = kFrom.find(c);
      if (simple != std::string_view::npos) {
        out += kTo[simple];
      } else if (c == '\n') {
        continue;  // a line continuation
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        uint32_t code = 0;
        for (size_t d = 1; d <= digits; ++d) {
          const char h = i + d < in.size() ? in[i + d] : ' ';
          const int digit = is_digit(h)            ? h - '0'
                            : h >= 'a' && h <= 'f' ? h - 'a' + 10
                            : h >= 'A' && h <= 'F' ? h - 'A' + 10
                                                   : -1;
          if (digit < 0) return fail(fmt::format("a string has an incomplete \\{} escape", c));
          code = code << 4 | static_cast<uint32_t>(digit);
        }
        if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
          return fail(fmt::format("a string has the escape of {:#x}, which is no character", code));
        utf8_append(out, code);
        i += digits;
      } else if (c >= '0' && c <= '7') {
        uint32_t code = 0;
        size_t d = 0;
        for (; d < 3 && i + d < in.size() && in[i + d] >= '0' && in[i + d] <= '7'; ++d)
          code = code * 8 + static_cast<uint32_t>(in[i + d] - '0');
        utf8_append(out, code);
        i += d - 1;
      } else {
        out += '\\';
        out += c;
      }
    }
    return {};
  }

  std::string source_;
  std::string_view in_;
  size_t pos_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace tutti::text::jinja
