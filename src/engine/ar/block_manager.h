// BlockManager: which blocks of the paged KV cache are free, and who holds the others.
//
// Thread: the stage's replica thread. Invariants: a block is on the free list, idle, or has at
// least one holder; the pool never grows. Holders keep BlockIds; a sequence's n-th block holds its
// positions [n * block_size, (n + 1) * block_size). A block may have several holders (a shared
// prefix). An idle block has none but is known by its prefix hash; it counts as free, and the one
// that has been idle longest is taken when nothing else is left.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "engine/ar/prefix_index.h"

namespace tutti::ar {

class BlockManager {
 public:
  BlockManager(int64_t num_blocks, int32_t block_size);

  int32_t block_size() const { return block_size_; }
  int64_t num_blocks() const { return static_cast<int64_t>(holders_.size()); }
  int64_t num_free() const { return static_cast<int64_t>(free_.size()) + num_idle_; }
  int64_t num_idle() const { return num_idle_; }
  int64_t num_used() const { return num_blocks() - num_free(); }
  // Blocks that hold `positions` positions.
  int64_t blocks_for(int64_t positions) const {
    return (positions + block_size_ - 1) / block_size_;
  }

  // Extends a sequence's blocks so that they hold `positions`. False, with nothing changed, when
  // too few are free.
  bool grow(std::vector<BlockId>& blocks, int64_t positions);
  // One more holder of a block that is in use or idle.
  void share(BlockId block);
  // Lets go of all blocks of a sequence, the last first, so that a prefix stays longest.
  void release(std::vector<BlockId>& blocks);

  // Makes a full, computed block in use known by its prefix, with what the model keeps beside it.
  // Does nothing when the prefix has a block already.
  void remember(BlockId block, const PrefixHash& hash, Tensor extra) {
    index_.insert(block, hash, std::move(extra));
  }
  const PrefixIndex& index() const { return index_; }
  // Idle blocks become free ones.
  void forget_idle();

 private:
  struct Link {
    int32_t before = -1;
    int32_t after = -1;
  };
  BlockId take();
  void make_idle(BlockId block);
  void unlink_idle(BlockId block);

  int32_t block_size_;
  std::vector<int32_t> holders_;  // per block
  std::vector<BlockId> free_;     // used from the back: recently freed memory is warm
  PrefixIndex index_;
  // Idle blocks are a ring through the entry behind the last block: oldest after it.
  std::vector<Link> idle_;
  int64_t num_idle_ = 0;
};

}  // namespace tutti::ar
