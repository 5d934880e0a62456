#include "engine/ar/prefix_index.h"

#include <bit>

namespace tutti::ar {

PrefixIndex::PrefixIndex(int64_t num_blocks)
    : entries_(static_cast<size_t>(num_blocks)),
      buckets_(std::bit_ceil(2 * static_cast<size_t>(num_blocks)), -1) {}

std::optional<BlockId> PrefixIndex::find(const PrefixHash& hash) const {
  for (int32_t block = buckets_[bucket_of(hash)]; block >= 0;) {
    const Entry& e = entries_[static_cast<size_t>(block)];
    if (e.hash == hash) return BlockId(block);
    block = e.next;
  }
  return std::nullopt;
}

bool PrefixIndex::insert(BlockId block, const PrefixHash& hash, Tensor extra) {
  if (contains(block) || find(hash)) return false;
  int32_t& first = buckets_[bucket_of(hash)];
  entries_[static_cast<size_t>(block.value)] = {hash, std::move(extra), first, true};
  first = block.value;
  return true;
}

void PrefixIndex::erase(BlockId block) {
  Entry& gone = entries_[static_cast<size_t>(block.value)];
  if (!gone.known) return;
  int32_t* link = &buckets_[bucket_of(gone.hash)];
  while (*link != block.value) link = &entries_[static_cast<size_t>(*link)].next;
  *link = gone.next;
  gone = {};
}

}  // namespace tutti::ar
