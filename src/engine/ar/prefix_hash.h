// Prefix hashes: what a full KV block is known by. Each covers the block's token ids, what its
// media hold, and, through its parent, all positions before it.
//
// Thread: free functions, any thread; nothing allocates.
#pragma once

#include <cstdint>
#include <span>

#include "models/media_hash.h"

namespace tutti::ar {

struct PrefixHash {
  uint64_t high = 0;
  uint64_t low = 0;
  bool operator==(const PrefixHash&) const = default;
};

// Parent of a sequence's first block. seed: the engine's secret, so that nobody can prepare
// prompts that collide; salt: what else makes the KV of equal tokens differ (an adapter), else 0.
PrefixHash root_hash(uint64_t seed, uint64_t salt);

// The ids of one block come in two parts, because prompt and answer may meet in it. media: of
// ArModel::content_hash(). XXH3, 128 bits.
PrefixHash block_hash(const PrefixHash& parent, std::span<const int32_t> ids,
                      std::span<const int32_t> more_ids, const MediaHash& media);

}  // namespace tutti::ar
