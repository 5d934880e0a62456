// PrefixIndex: which block of the KV cache holds a prefix, by its hash, and what the model keeps
// beside it.
//
// Thread: the stage's replica thread. Invariants: a block is known by one hash at most and a hash
// by one block; all memory but the extras is taken once, for every block.
#pragma once

#include <optional>
#include <vector>

#include "base/ids.h"
#include "engine/ar/prefix_hash.h"
#include "tensor/tensor.h"

namespace tutti::ar {

class PrefixIndex {
 public:
  explicit PrefixIndex(int64_t num_blocks);

  std::optional<BlockId> find(const PrefixHash& hash) const;
  bool contains(BlockId block) const { return entry(block).known; }
  // False, with nothing changed, when the block or the hash is known already.
  bool insert(BlockId block, const PrefixHash& hash, Tensor extra);
  // Does nothing for a block that is not known.
  void erase(BlockId block);
  // Undefined when the model keeps nothing beside the block.
  const Tensor& extra(BlockId block) const { return entry(block).extra; }

 private:
  struct Entry {
    PrefixHash hash;
    Tensor extra;
    int32_t next = -1;  // block of the same bucket
    bool known = false;
  };
  const Entry& entry(BlockId block) const { return entries_[static_cast<size_t>(block.value)]; }
  size_t bucket_of(const PrefixHash& hash) const { return hash.low & (buckets_.size() - 1); }

  std::vector<Entry> entries_;    // per block
  std::vector<int32_t> buckets_;  // first block of each, or -1; a power of two of them
};

}  // namespace tutti::ar
