#include "text/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>

#include "text/utf8.h"

namespace tutti::text {

namespace {

size_t last_code_point(std::string_view text) {
  size_t pos = text.size() - 1;
  while (pos > 0 && (static_cast<unsigned char>(text[pos]) & 0xC0) == 0x80) --pos;
  return pos;
}

// \w of Rust's regex crate: letters, marks, decimal digits, connectors, joiners.
bool is_word(char32_t c) {
  if (c == 0x200C || c == 0x200D) return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return c >= 0x24B6 && c <= 0x24E9;  // circled letters are alphabetic symbols
  }
}

bool touches_word(std::string_view text, size_t begin, size_t end) {
  if (begin > 0 && is_word(utf8_at(text, last_code_point(text.substr(0, begin))))) return true;
  return end < text.size() && is_word(utf8_at(text, end));
}

size_t skip_space_left(std::string_view text, size_t begin, size_t limit) {
  while (begin > limit) {
    const size_t pos = last_code_point(text.substr(0, begin));
    if (!is_white_space(utf8_at(text, pos), false)) break;
    begin = pos;
  }
  return std::max(begin, limit);
}

size_t skip_space_right(std::string_view text, size_t end) {
  while (end < text.size() && is_white_space(utf8_at(text, end), false))
    end += utf8_length(text[end]);
  return end;
}

}  // namespace

void AddedTokenMatcher::add(std::string_view pattern, const AddedToken* token) {
  if (pattern.empty()) return;
  uint32_t node = 0;
  for (const char c : pattern) {
    const auto byte = static_cast<uint8_t>(c);
    auto& children = nodes_[node].children;
    auto child =
        std::lower_bound(children.begin(), children.end(), std::pair<uint8_t, uint32_t>(byte, 0));
    if (child == children.end() || child->first != byte) {
      const auto fresh = static_cast<uint32_t>(nodes_.size());
      children.insert(child, {byte, fresh});
      nodes_.emplace_back();
      node = fresh;
    } else {
      node = child->second;
    }
  }
  if (nodes_[node].token == nullptr) nodes_[node].token = token;
  starts_[static_cast<uint8_t>(pattern[0])] = true;
  tokens_.push_back(token);
}

const AddedToken* AddedTokenMatcher::longest_match(std::string_view text, size_t pos,
                                                   size_t& end) const {
  const AddedToken* best = nullptr;
  uint32_t node = 0;
  for (size_t i = pos; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const auto& children = nodes_[node].children;
    const auto child =
        std::lower_bound(children.begin(), children.end(), std::pair<uint8_t, uint32_t>(byte, 0));
    if (child == children.end() || child->first != byte) break;
    node = child->second;
    if (nodes_[node].token != nullptr) {
      best = nodes_[node].token;
      end = i + 1;
    }
  }
  return best;
}

void AddedTokenMatcher::split(std::string_view text, bool parse_special,
                              std::vector<Segment>& segments) const {
  size_t done = 0;  // end of the last segment
  for (size_t pos = 0; pos < text.size();) {
    size_t end = 0;
    const AddedToken* token =
        starts_[static_cast<uint8_t>(text[pos])] ? longest_match(text, pos, end) : nullptr;
    if (token == nullptr) {
      ++pos;
      continue;
    }
    size_t begin = pos;
    pos = end;  // the search goes on behind the match, even where it is discarded
    if (token->special && !parse_special) continue;
    if (token->single_word && touches_word(text, begin, end)) continue;
    if (token->lstrip) begin = skip_space_left(text, begin, std::min(done, begin));
    if (token->rstrip) end = skip_space_right(text, end);
    if (begin > done) segments.push_back({text.substr(done, begin - done), -1});
    segments.push_back({{}, token->id});
    done = end;
  }
  if (done < text.size()) segments.push_back({text.substr(done), -1});
}

}  // namespace tutti::text
