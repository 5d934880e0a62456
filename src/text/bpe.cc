#include "text/bpe.h"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <queue>

#include "text/utf8.h"

namespace tutti::text {

namespace {

// GPT-2's bytes_to_unicode: printable Latin-1 bytes stand for themselves, the other 68 follow at
// U+0100.
struct ByteLetters {
  std::array<char32_t, 256> letter{};
  std::array<int16_t, 324> byte{};

  constexpr ByteLetters() {
    byte.fill(-1);
    char32_t next = 256;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      letter[b] = printable ? static_cast<char32_t>(b) : next++;
      byte[letter[b]] = static_cast<int16_t>(b);
    }
  }
};
constexpr ByteLetters kByteLetters;

uint64_t hash_bytes(std::string_view bytes) {
  uint64_t hash = 0x9E3779B97F4A7C15u ^ bytes.size();
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t block;
    std::memcpy(&block, bytes.data() + i, 8);
    hash = (hash ^ block) * 0xFF51AFD7ED558CCDu;
    hash ^= hash >> 32;
  }
  uint64_t tail = 0;
  if (i < bytes.size()) std::memcpy(&tail, bytes.data() + i, bytes.size() - i);
  hash = (hash ^ tail) * 0xC4CEB9FE1A85EC53u;
  return hash ^ hash >> 29;
}

// Direct-mapped and of fixed size: a word overwrites whatever lay in its place.
class WordCache {
 public:
  static constexpr size_t kMaxBytes = 30;
  static constexpr size_t kMaxIds = 8;

  struct Entry {
    uint8_t bytes = 0;  // 0: empty
    uint8_t ids = 0;
    char word[kMaxBytes] = {};
    int32_t id[kMaxIds] = {};
  };

  Entry& place(std::string_view word) { return entries_[hash_bytes(word) >> (64 - kBits)]; }
  void restart() { entries_.assign(size_t{1} << kBits, Entry()); }

 private:
  static constexpr int kBits = 14;
  std::vector<Entry> entries_;
};

// Two models of one process (a chat model and a diffusion text encoder) seldom share a slot.
WordCache& word_cache(uint64_t key) {
  struct Slot {
    uint64_t key = 0;
    WordCache cache;
  };
  thread_local std::array<Slot, 4> slots;
  Slot& slot = slots[key % slots.size()];
  if (slot.key != key) {
    slot.key = key;
    slot.cache.restart();
  }
  return slot.cache;
}

}  // namespace

std::optional<uint8_t> byte_of_letter(char32_t letter) {
  if (letter >= kByteLetters.byte.size() || kByteLetters.byte[letter] < 0) return std::nullopt;
  return static_cast<uint8_t>(kByteLetters.byte[letter]);
}

std::optional<std::string> bytes_of_letters(std::string_view text) {
  std::string bytes;
  for (size_t pos = 0; pos < text.size(); pos += utf8_length(text[pos])) {
    const std::optional<uint8_t> byte = byte_of_letter(utf8_at(text, pos));
    if (!byte) return std::nullopt;
    bytes += static_cast<char>(*byte);
  }
  return bytes;
}

std::string letters_of_bytes(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes)
    utf8_append(text, kByteLetters.letter[static_cast<unsigned char>(byte)]);
  return text;
}

Result<Bpe> Bpe::build(std::vector<VocabEntry> vocab, const std::vector<MergePair>& merges,
                       BpeOptions options) {
  static std::atomic<uint64_t> next_cache_key{1};
  Bpe bpe;
  bpe.cache_key_ = next_cache_key.fetch_add(1);
  bpe.options_ = std::move(options);
  bpe.vocab_ = std::move(vocab);
  bpe.ids_.reserve(bpe.vocab_.size());
  for (const VocabEntry& entry : bpe.vocab_) bpe.ids_[entry.text] = entry.id;
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    bpe.byte_ids_[byte] = bpe.id_of(letters_of_bytes({&c, 1})).value_or(-1);
  }
  if (!bpe.options_.unk_token.empty()) {
    const std::optional<int32_t> unk = bpe.id_of(bpe.options_.unk_token);
    if (!unk) {
      return invalid_argument(
          fmt::format("The unknown token '{}' is not in the vocabulary.", bpe.options_.unk_token));
    }
    bpe.unk_id_ = *unk;
  }
  bpe.merges_.assign(std::bit_ceil(merges.size() * 3 / 2 + 2), Merge());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const std::optional<int32_t> a = bpe.id_of(left);
    const std::optional<int32_t> b = bpe.id_of(right);
    const std::optional<int32_t> ab = bpe.id_of(left + right);
    if (!a || !b || !ab) {
      return invalid_argument(fmt::format(
          "Merge {} ('{}' with '{}') needs the token '{}', which is not in the vocabulary.", rank,
          left, right,
          !a   ? left
          : !b ? right
               : left + right));
    }
    bpe.insert_merge({pair_key(*a, *b), static_cast<uint32_t>(rank), *ab});
  }
  return bpe;
}

std::optional<int32_t> Bpe::id_of(std::string_view text) const {
  const auto found = ids_.find(text);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

namespace {
size_t merge_slot(uint64_t pair, size_t mask) {
  const uint64_t hash = pair * 0x9E3779B97F4A7C15u;
  return (hash ^ hash >> 32) & mask;
}
}  // namespace

// A pair that comes twice keeps its last rank, as in Hugging Face's map.
void Bpe::insert_merge(Merge merge) {
  const size_t mask = merges_.size() - 1;
  size_t slot = merge_slot(merge.pair, mask);
  while (merges_[slot].pair != kNoPair && merges_[slot].pair != merge.pair)
    slot = (slot + 1) & mask;
  merges_[slot] = merge;
}

const Bpe::Merge* Bpe::find_merge(int32_t left, int32_t right) const {
  const uint64_t pair = pair_key(left, right);
  const size_t mask = merges_.size() - 1;
  for (size_t slot = merge_slot(pair, mask); merges_[slot].pair != kNoPair;
       slot = (slot + 1) & mask) {
    if (merges_[slot].pair == pair) return &merges_[slot];
  }
  return nullptr;
}

bool Bpe::first_symbols(std::string_view word, std::vector<int32_t>& symbols) const {
  symbols.clear();
  bool last_unknown = false;
  for (const char c : word) {
    const int32_t id = byte_ids_[static_cast<unsigned char>(c)];
    if (id >= 0) {
      symbols.push_back(id);
    } else if (unk_id_ >= 0 && !(options_.fuse_unk && last_unknown)) {
      symbols.push_back(unk_id_);
    }
    last_unknown = id < 0;
  }
  return symbols.size() > 1;
}

// Words of a few dozen bytes: scanning an array of ranks beats any queue.
void Bpe::merge_short(std::vector<int32_t>& symbols) const {
  constexpr size_t kMax = 64;
  std::array<const Merge*, kMax> merge;
  size_t count = symbols.size();
  for (size_t i = 0; i + 1 < count; ++i) merge[i] = find_merge(symbols[i], symbols[i + 1]);
  while (true) {
    size_t best = count;
    uint32_t best_rank = kNoRank;
    for (size_t i = 0; i + 1 < count; ++i) {
      if (merge[i] != nullptr && merge[i]->rank < best_rank) {
        best = i;
        best_rank = merge[i]->rank;
      }
    }
    if (best == count) break;
    symbols[best] = merge[best]->id;
    for (size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      merge[i] = merge[i + 1];
    }
    --count;
    if (best > 0) merge[best - 1] = find_merge(symbols[best - 1], symbols[best]);
    if (best + 1 < count) merge[best] = find_merge(symbols[best], symbols[best + 1]);
  }
  symbols.resize(count);
}

// Long words (a page of Chinese is one): a queue ordered by rank, then position, over a linked
// list.
void Bpe::merge_long(std::vector<int32_t>& symbols) const {
  struct Node {
    int32_t id;
    uint32_t previous;
    uint32_t next;
  };
  constexpr uint32_t kEnd = ~uint32_t{0};
  const auto count = static_cast<uint32_t>(symbols.size());
  std::vector<Node> nodes(count);
  std::vector<uint64_t> heap;
  const auto later = std::greater<uint64_t>();
  const auto offer = [&](uint32_t left) {
    const uint32_t right = nodes[left].next;
    if (right == kEnd) return;
    const Merge* merge = find_merge(nodes[left].id, nodes[right].id);
    if (merge == nullptr) return;
    heap.push_back(uint64_t{merge->rank} << 32 | left);
    std::push_heap(heap.begin(), heap.end(), later);
  };
  for (uint32_t i = 0; i < count; ++i) nodes[i] = {symbols[i], i - 1, i + 1 < count ? i + 1 : kEnd};
  for (uint32_t i = 0; i < count; ++i) offer(i);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const auto rank = static_cast<uint32_t>(heap.back() >> 32);
    const auto left = static_cast<uint32_t>(heap.back());
    heap.pop_back();
    const uint32_t right = nodes[left].next;
    if (nodes[left].id < 0 || right == kEnd) continue;
    const Merge* merge = find_merge(nodes[left].id, nodes[right].id);
    if (merge == nullptr || merge->rank != rank) continue;  // a neighbour has changed since
    nodes[left].id = merge->id;
    nodes[left].next = nodes[right].next;
    nodes[right].id = -1;
    if (nodes[left].next != kEnd) nodes[nodes[left].next].previous = left;
    if (left > 0) offer(nodes[left].previous);
    offer(left);
  }
  symbols.clear();
  for (uint32_t i = 0; i != kEnd; i = nodes[i].next) symbols.push_back(nodes[i].id);
}

void Bpe::encode_word(std::string_view word, std::vector<int32_t>& ids) const {
  if (word.empty()) return;
  WordCache::Entry* entry = nullptr;
  if (word.size() <= WordCache::kMaxBytes) {
    entry = &word_cache(cache_key_).place(word);
    if (entry->bytes == word.size() && std::memcmp(entry->word, word.data(), word.size()) == 0) {
      ids.insert(ids.end(), entry->id, entry->id + entry->ids);
      return;
    }
  }
  thread_local std::vector<int32_t> symbols;
  symbols.clear();
  std::optional<int32_t> whole;
  if (options_.ignore_merges) whole = id_of(letters_of_bytes(word));
  if (whole) {
    symbols.push_back(*whole);
  } else if (first_symbols(word, symbols)) {
    symbols.size() <= 64 ? merge_short(symbols) : merge_long(symbols);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.end());
  if (entry == nullptr || symbols.size() > WordCache::kMaxIds) return;
  entry->bytes = static_cast<uint8_t>(word.size());
  entry->ids = static_cast<uint8_t>(symbols.size());
  std::memcpy(entry->word, word.data(), word.size());
  std::copy(symbols.begin(), symbols.end(), entry->id);
}

}  // namespace tutti::text
