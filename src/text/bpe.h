// Byte-level byte-pair encoding: the vocabulary, the ranked merges, and the merging of one word.
// *Thread:* immutable after build; any thread (a bounded cache of words lives in each thread).
// *Invariants:* words are raw bytes; token texts are spelled in ByteLevel's letters, as in the
// files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tutti/status.h"

namespace tutti::text {

// The byte that ByteLevel spells as this letter (GPT-2's table of 256 printable letters), or
// nothing.
std::optional<uint8_t> byte_of_letter(char32_t letter);
// Bytes of a text spelled in ByteLevel's letters; nothing when it holds another code point.
std::optional<std::string> bytes_of_letters(std::string_view text);
std::string letters_of_bytes(std::string_view bytes);

struct VocabEntry {
  std::string text;
  int32_t id = 0;
};
struct MergePair {
  std::string left;
  std::string right;
};
struct BpeOptions {
  bool ignore_merges = false;  // a word that is a token stays whole
  std::string unk_token;       // for bytes without token; empty: they are dropped
  bool fuse_unk = false;       // neighbouring unknown bytes make one unk_token
};

class Bpe {
 public:
  Bpe() = default;
  Bpe(Bpe&&) = default;
  Bpe& operator=(Bpe&&) = default;

  // Errors name the first token or merge that is wrong.
  static Result<Bpe> build(std::vector<VocabEntry> vocab, const std::vector<MergePair>& merges,
                           BpeOptions options);

  // Appends the word's token ids.
  void encode_word(std::string_view word, std::vector<int32_t>& ids) const;

  std::optional<int32_t> id_of(std::string_view text) const;
  const std::vector<VocabEntry>& vocab() const { return vocab_; }

 private:
  struct Merge {
    uint64_t pair = kNoPair;
    uint32_t rank = 0;
    int32_t id = 0;
  };
  static constexpr uint64_t kNoPair = ~uint64_t{0};
  static constexpr uint32_t kNoRank = ~uint32_t{0};

  static uint64_t pair_key(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  void insert_merge(Merge merge);
  const Merge* find_merge(int32_t left, int32_t right) const;
  bool first_symbols(std::string_view word, std::vector<int32_t>& symbols) const;
  void merge_short(std::vector<int32_t>& symbols) const;
  void merge_long(std::vector<int32_t>& symbols) const;

  uint64_t cache_key_ = 0;  // tells the threads' caches of different tokenizers apart
  BpeOptions options_;
  std::vector<VocabEntry> vocab_;
  std::unordered_map<std::string_view, int32_t> ids_;  // keys view vocab_'s texts
  std::vector<Merge> merges_;                          // open addressing, a power of two
  int32_t byte_ids_[256] = {};                         // -1: the byte has no token
  int32_t unk_id_ = -1;
};

}  // namespace tutti::text
