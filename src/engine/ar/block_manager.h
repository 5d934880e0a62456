// BlockManager: which blocks of the paged KV cache are free, and who holds the others.
//
// Thread: the stage's replica thread. Invariants: a block is on the free list or has at least one
// holder; the pool never grows. Holders keep BlockIds; a sequence's n-th block holds its positions
// [n * block_size, (n + 1) * block_size). A block may have several holders (a shared prefix).
#pragma once

#include <span>
#include <vector>

#include "base/ids.h"

namespace tutti::ar {

class BlockManager {
 public:
  BlockManager(int64_t num_blocks, int32_t block_size);

  int32_t block_size() const { return block_size_; }
  int64_t num_blocks() const { return static_cast<int64_t>(holders_.size()); }
  int64_t num_free() const { return static_cast<int64_t>(free_.size()); }
  int64_t num_used() const { return num_blocks() - num_free(); }
  // Blocks that hold `positions` positions.
  int64_t blocks_for(int64_t positions) const {
    return (positions + block_size_ - 1) / block_size_;
  }

  // Extends a sequence's blocks so that they hold `positions`. False, with nothing changed, when
  // too few are free.
  bool grow(std::vector<BlockId>& blocks, int64_t positions);
  // One more holder of a block in use.
  void share(BlockId block);
  // Lets go of all blocks of a sequence, the last first, so that a prefix stays longest.
  void release(std::vector<BlockId>& blocks);

 private:
  int32_t block_size_;
  std::vector<int32_t> holders_;  // per block
  std::vector<BlockId> free_;     // used from the back: recently freed memory is warm
};

}  // namespace tutti::ar
