#include "serve/sentences.h"

#include <algorithm>
#include <array>

namespace tutti::serve {

namespace {

constexpr std::string_view kSpace = " \t\r\n\f\v";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

// Bytes of the mark that ends a sentence at `at`; 0: none does.
size_t end_mark(std::string_view text, size_t at) {
  constexpr std::array<std::string_view, 3> kFullWidth{"\u3002", "\uff01", "\uff1f"};
  constexpr std::array<std::string_view, 4> kBeforeSpace{".", "!", "?", "\u2026"};
  const std::string_view rest = text.substr(at);
  for (const std::string_view mark : kFullWidth) {
    if (rest.starts_with(mark)) return mark.size();
  }
  for (const std::string_view mark : kBeforeSpace) {
    if (!rest.starts_with(mark)) continue;
    const std::string_view behind = rest.substr(mark.size());
    if (behind.empty() || kSpace.find(behind.front()) != std::string_view::npos) return mark.size();
  }
  return rest.front() == '\n' ? 1 : 0;
}

// Where to part what is too long.
size_t parting(std::string_view text, size_t most) {
  const std::string_view head = text.substr(0, most);
  for (const std::string_view mark : {",;:", " \t"}) {
    const size_t at = head.find_last_of(mark);
    if (at != std::string_view::npos && at > 0) return at + 1;
  }
  size_t at = most;
  while (at > 1 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
  return at;
}

void add(std::string_view sentence, size_t most, std::vector<std::string>& to) {
  for (sentence = trimmed(sentence); sentence.size() > most;) {
    const size_t at = parting(sentence, most);
    to.emplace_back(trimmed(sentence.substr(0, at)));
    sentence = trimmed(sentence.substr(at));
  }
  if (!sentence.empty()) to.emplace_back(sentence);
}

}  // namespace

std::vector<std::string> sentences(std::string_view text, size_t most) {
  std::vector<std::string> found;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t mark = end_mark(text, at);
    at += std::max<size_t>(mark, 1);
    if (mark == 0) continue;
    add(text.substr(begin, at - begin), most, found);
    begin = at;
  }
  add(text.substr(begin), most, found);
  return found;
}

}  // namespace tutti::serve
