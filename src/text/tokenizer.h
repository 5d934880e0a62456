// A Hugging Face byte-level BPE tokenizer, read from a model directory as published.
// *Thread:* immutable and shared; any thread may call it at once.
// *Invariants:* equal ids for equal text, whichever of the two file routes it was loaded from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tutti/status.h"

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"

namespace tutti::text {

struct EncodeOptions {
  // Adds what the post-processor puts around a text (a begin token, for models that have one).
  bool add_special_tokens = false;
  // Special tokens spelled in the text become their ids; otherwise they are plain text. Added
  // tokens that are not special (tool tags) are always recognized, as in Hugging Face tokenizers.
  bool parse_special = true;
};

// What a tokenizer is made of; the loader fills it from the files.
struct TokenizerParts {
  Bpe bpe;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::vector<AddedToken> added_tokens;
  std::vector<int32_t> prefix_ids;  // of add_special_tokens
  std::vector<int32_t> suffix_ids;
  // Contents named by tokenizer_config.json; empty when not configured.
  std::string eos_token;
  std::string pad_token;
  std::string bos_token;
};

class Tokenizer {
 public:
  // Reads tokenizer.json, or, without it, vocab.json + merges.txt with the added tokens of
  // tokenizer_config.json. Errors name the file and what is wrong in it.
  static Result<std::shared_ptr<const Tokenizer>> load(const std::filesystem::path& model_dir);
  // For loaders; use load().
  static Result<std::shared_ptr<const Tokenizer>> build(TokenizerParts parts);

  // Ids of `text`; an error when it is not valid UTF-8.
  Result<std::vector<int32_t>> encode(std::string_view text, EncodeOptions options = {}) const;
  // Text of `ids`. Bytes that are not UTF-8 become U+FFFD; ids outside the vocabulary are left out.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  std::optional<int32_t> token_to_id(std::string_view token) const;
  // The token as the files spell it (ByteLevel's letters); nothing for an id without token.
  std::optional<std::string_view> id_to_token(int32_t id) const;
  // The bytes that the token stands for in text; empty for an id without token.
  std::string_view token_bytes(int32_t id) const;
  // One more than the largest id, added tokens included.
  int32_t vocab_size() const { return static_cast<int32_t>(tokens_.size()); }
  bool is_special(int32_t id) const;

  std::optional<int32_t> eos_id() const { return eos_id_; }
  std::optional<int32_t> pad_id() const { return pad_id_; }
  std::optional<int32_t> bos_id() const { return bos_id_; }

  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

 private:
  struct Token {
    std::string_view text;
    uint32_t bytes_begin = 0;
    uint32_t bytes_size = 0;
    bool exists = false;
    bool special = false;
  };

  explicit Tokenizer(TokenizerParts parts) : parts_(std::move(parts)) {}
  Status index_tokens();
  Status index_added_tokens();
  void set_token(int32_t id, std::string_view text);

  TokenizerParts parts_;
  AddedTokenMatcher raw_matcher_;
  AddedTokenMatcher normalized_matcher_;
  std::vector<std::string> normalized_patterns_;
  std::vector<Token> tokens_;  // by id
  std::string bytes_;          // every token's bytes, one after the other
  std::unordered_map<std::string_view, int32_t> added_ids_;
  std::optional<int32_t> eos_id_;
  std::optional<int32_t> pad_id_;
  std::optional<int32_t> bos_id_;
};

}  // namespace tutti::text
