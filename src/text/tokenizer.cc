#include "text/tokenizer.h"

#include <fmt/format.h>

#include "base/strings.h"
#include "text/utf8.h"

namespace tutti::text {

namespace {

class BpeSink final : public WordSink {
 public:
  BpeSink(const Bpe& bpe, std::vector<int32_t>& ids) : bpe_(bpe), ids_(ids) {}
  void on_word(std::string_view word) override { bpe_.encode_word(word, ids_); }

 private:
  const Bpe& bpe_;
  std::vector<int32_t>& ids_;
};

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::build(TokenizerParts parts) {
  std::shared_ptr<Tokenizer> tokenizer(new Tokenizer(std::move(parts)));
  TUTTI_RETURN_IF_ERROR(tokenizer->index_tokens());
  TUTTI_RETURN_IF_ERROR(tokenizer->index_added_tokens());
  const auto named = [&](const std::string& token) {
    return token.empty() ? std::nullopt : tokenizer->token_to_id(token);
  };
  tokenizer->eos_id_ = named(tokenizer->parts_.eos_token);
  tokenizer->pad_id_ = named(tokenizer->parts_.pad_token);
  tokenizer->bos_id_ = named(tokenizer->parts_.bos_token);
  return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
}

void Tokenizer::set_token(int32_t id, std::string_view text) {
  Token& token = tokens_[static_cast<size_t>(id)];
  token.text = text;
  token.exists = true;
  token.bytes_begin = static_cast<uint32_t>(bytes_.size());
  // A token with any other character stands for its own spelling, as in ByteLevel's decoder.
  bytes_ += bytes_of_letters(text).value_or(std::string(text));
  token.bytes_size = static_cast<uint32_t>(bytes_.size() - token.bytes_begin);
}

Status Tokenizer::index_tokens() {
  // Far above any published vocabulary; keeps one wild id from reserving gigabytes.
  constexpr int32_t kMaxId = 1 << 24;
  int32_t largest = -1;
  const auto check = [&](int32_t id, std::string_view token) -> Status {
    if (id < 0 || id >= kMaxId) {
      return invalid_argument(
          fmt::format("The token '{}' has the id {}; allowed are 0 to {}.", token, id, kMaxId - 1));
    }
    largest = std::max(largest, id);
    return {};
  };
  for (const VocabEntry& entry : parts_.bpe.vocab())
    TUTTI_RETURN_IF_ERROR(check(entry.id, entry.text));
  for (const AddedToken& token : parts_.added_tokens)
    TUTTI_RETURN_IF_ERROR(check(token.id, token.content));
  tokens_.resize(static_cast<size_t>(largest + 1));
  for (const VocabEntry& entry : parts_.bpe.vocab()) set_token(entry.id, entry.text);
  for (const AddedToken& token : parts_.added_tokens) {
    set_token(token.id, token.content);
    tokens_[static_cast<size_t>(token.id)].special = token.special;
  }
  return {};
}

Status Tokenizer::index_added_tokens() {
  // Special tokens first: of two equal patterns the first one counts.
  normalized_patterns_.reserve(parts_.added_tokens.size());
  for (const bool special : {true, false}) {
    for (const AddedToken& token : parts_.added_tokens) {
      added_ids_.emplace(token.content, token.id);
      if (token.special != special) continue;
      if (!token.normalized) {
        raw_matcher_.add(token.content, &token);
        continue;
      }
      std::string scratch;
      TUTTI_ASSIGN_OR_RETURN(const std::string_view pattern,
                             parts_.normalizer.apply(token.content, scratch));
      normalized_patterns_.emplace_back(pattern);
      normalized_matcher_.add(normalized_patterns_.back(), &token);
    }
  }
  return {};
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  if (!is_valid_utf8(text)) {
    return invalid_argument("The text is not valid UTF-8; tokenizers take UTF-8 only.");
  }
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3 + 8);
  if (options.add_special_tokens) ids = parts_.prefix_ids;
  BpeSink sink(parts_.bpe, ids);
  std::vector<Segment> raw;
  std::vector<Segment> normalized;
  std::string scratch;
  raw_matcher_.split(text, options.parse_special, raw);
  for (const Segment& segment : raw) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
      continue;
    }
    TUTTI_ASSIGN_OR_RETURN(const std::string_view plain,
                           parts_.normalizer.apply(segment.text, scratch));
    normalized.clear();
    normalized_matcher_.split(plain, options.parse_special, normalized);
    for (const Segment& part : normalized) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else {
        TUTTI_RETURN_IF_ERROR(parts_.pre_tokenizer.split(part.text, sink));
      }
    }
  }
  if (options.add_special_tokens)
    ids.insert(ids.end(), parts_.suffix_ids.begin(), parts_.suffix_ids.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string text;
  Utf8Repair repair;
  for (const int32_t id : ids) {
    if (skip_special && is_special(id)) continue;
    repair.push(token_bytes(id), text);
  }
  repair.flush(text);
  return text;
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  const auto added = added_ids_.find(token);
  if (added != added_ids_.end()) return added->second;
  return parts_.bpe.id_of(token);
}

std::optional<std::string_view> Tokenizer::id_to_token(int32_t id) const {
  if (id < 0 || id >= vocab_size() || !tokens_[static_cast<size_t>(id)].exists) return std::nullopt;
  return tokens_[static_cast<size_t>(id)].text;
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  if (id < 0 || id >= vocab_size()) return {};
  const Token& token = tokens_[static_cast<size_t>(id)];
  return std::string_view(bytes_).substr(token.bytes_begin, token.bytes_size);
}

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && id < vocab_size() && tokens_[static_cast<size_t>(id)].special;
}

}  // namespace tutti::text
