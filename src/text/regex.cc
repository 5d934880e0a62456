#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include "text/utf8.h"

namespace tutti::text {

namespace {

// Walks the pattern once, copying what both dialects share.
class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  Result<std::string> run() {
    while (pos_ < in_.size()) {
      const char c = in_[pos_];
      if (c == '\\') {
        TUTTI_RETURN_IF_ERROR(escape());
      } else if (in_class_) {
        TUTTI_RETURN_IF_ERROR(class_char(c));
      } else if (c == '[') {
        open_class();
      } else if (in_.substr(pos_, 2) == "(?") {
        TUTTI_RETURN_IF_ERROR(group());
      } else {
        copy(1);
      }
    }
    return std::move(out_);
  }

 private:
  void copy(size_t count) {
    out_ += in_.substr(pos_, count);
    pos_ += count;
  }
  void replace(size_t count, std::string_view text) {
    out_ += text;
    pos_ += count;
  }
  Status refuse(std::string_view what) const {
    return unimplemented(
        fmt::format("The regular expression '{}' uses {} at offset {}, which is not supported.",
                    in_, what, pos_));
  }

  Status escape() {
    if (pos_ + 1 >= in_.size()) return refuse("a trailing backslash");
    static constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
    static constexpr std::string_view kHex = "0-9a-fA-F";
    const auto set = [&](std::string_view members, bool negated) {
      replace(
          2, in_class_ ? std::string(members) : fmt::format("[{}{}]", negated ? "^" : "", members));
    };
    switch (in_[pos_ + 1]) {
      case 's':
        replace(2, "\\p{White_Space}");
        break;
      case 'S':
        replace(2, "\\P{White_Space}");
        break;
      case 'h':
        set(kHex, false);
        break;
      case 'w':
        set(kWord, false);
        break;
      case 'H':
      case 'W':
        if (in_class_) return refuse("a negated class inside a class");
        set(in_[pos_ + 1] == 'H' ? kHex : kWord, true);
        break;
      case 'u':
        if (pos_ + 6 > in_.size()) return refuse("an unfinished \\u escape");
        replace(6, fmt::format("\\x{{{}}}", in_.substr(pos_ + 2, 4)));
        break;
      default:
        copy(1 + utf8_length(in_[pos_ + 1]));
    }
    return {};
  }

  void open_class() {
    in_class_ = true;
    copy(1);
    if (pos_ < in_.size() && in_[pos_] == '^') copy(1);
    if (pos_ < in_.size() && in_[pos_] == ']') copy(1);
  }

  Status class_char(char c) {
    if (c == ']') {
      in_class_ = false;
    } else if (c == '[') {
      if (in_.substr(pos_, 2) != "[:") return refuse("a class inside a class");
      const size_t end = in_.find(":]", pos_);
      if (end == std::string_view::npos) return refuse("an unfinished POSIX class");
      copy(end + 2 - pos_);
      return {};
    } else if (in_.substr(pos_, 2) == "&&") {
      return refuse("a class intersection");
    }
    copy(1);
    return {};
  }

  Status group() {
    copy(2);
    size_t end = pos_;
    while (end < in_.size() && (std::string_view("imx-").find(in_[end]) != std::string_view::npos))
      ++end;
    if (end == pos_ || end >= in_.size() || (in_[end] != ':' && in_[end] != ')')) return {};
    for (; pos_ < end; ++pos_) out_ += in_[pos_] == 'm' ? 's' : in_[pos_];
    return {};
  }

  std::string_view in_;
  size_t pos_ = 0;
  bool in_class_ = false;
  std::string out_;
};

// What a match needs besides the code; made once per thread.
struct MatchScratch {
  MatchScratch()
      : data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(32 * 1024, 8 * 1024 * 1024, nullptr)) {
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~MatchScratch() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
  MatchScratch(const MatchScratch&) = delete;
  MatchScratch& operator=(const MatchScratch&) = delete;

  pcre2_match_data* data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;
};

MatchScratch& match_scratch() {
  thread_local MatchScratch scratch;
  return scratch;
}

std::string pcre2_message(int code) {
  PCRE2_UCHAR buffer[160] = {};
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

Result<pcre2_code*> compile_pcre2(std::string_view pattern, uint32_t options) {
  int code = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                       options | PCRE2_UTF, &code, &offset, nullptr);
  if (compiled == nullptr) {
    return invalid_argument(fmt::format("The regular expression '{}' is invalid at offset {}: {}.",
                                        pattern, offset, pcre2_message(code)));
  }
  // Without JIT (an architecture it lacks) matching is slower and as right.
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  return compiled;
}

}  // namespace

Result<std::string> translate_oniguruma(std::string_view pattern) {
  return Translator(pattern).run();
}

void Regex::FreeCode::operator()(void* code) const {
  pcre2_code_free(static_cast<pcre2_code*>(code));
}

Result<Regex> Regex::compile(std::string_view oniguruma_pattern) {
  TUTTI_ASSIGN_OR_RETURN(const std::string pattern, translate_oniguruma(oniguruma_pattern));
  Regex regex;
  TUTTI_ASSIGN_OR_RETURN(pcre2_code * code, compile_pcre2(pattern, PCRE2_UCP | PCRE2_MULTILINE |
                                                                       PCRE2_NEVER_BACKSLASH_C));
  regex.code_.reset(code);
  return regex;
}

Result<Regex> Regex::literal(std::string_view text) {
  Regex regex;
  TUTTI_ASSIGN_OR_RETURN(pcre2_code * code, compile_pcre2(text, PCRE2_LITERAL));
  regex.code_.reset(code);
  return regex;
}

Result<bool> Regex::find(std::string_view subject, size_t from, Span& match) const {
  MatchScratch& scratch = match_scratch();
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const auto* text = reinterpret_cast<PCRE2_SPTR>(subject.data());
  const int rc = pcre2_match(code, text, subject.size(), from, PCRE2_NO_UTF_CHECK, scratch.data,
                             scratch.context);
  if (rc == PCRE2_ERROR_NOMATCH) return false;
  if (rc < 0) {
    return invalid_argument(
        fmt::format("Splitting the text into words failed: {}.", pcre2_message(rc)));
  }
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(scratch.data);
  match = {offsets[0], offsets[1]};
  return true;
}

Status Regex::find_all(std::string_view subject, std::vector<Span>& matches) const {
  matches.clear();
  size_t from = 0;
  size_t last_end = std::string_view::npos;
  Span match;
  while (from <= subject.size()) {
    TUTTI_ASSIGN_OR_RETURN(const bool found, find(subject, from, match));
    if (!found) break;
    if (match.end > match.begin) {
      matches.push_back(match);
      from = last_end = match.end;
      continue;
    }
    // An empty match is dropped right behind a match, and steps over one code point.
    if (match.begin != last_end) matches.push_back(match);
    last_end = match.end;
    from = match.end < subject.size() ? match.end + utf8_length(subject[match.end]) : match.end + 1;
  }
  return {};
}

}  // namespace tutti::text
