#include "engine/ar/block_manager.h"

#include "base/check.h"

namespace tutti::ar {

BlockManager::BlockManager(int64_t num_blocks, int32_t block_size)
    : block_size_(block_size),
      holders_(static_cast<size_t>(num_blocks), 0),
      index_(num_blocks),
      idle_(static_cast<size_t>(num_blocks) + 1) {
  free_.reserve(holders_.size());
  for (int64_t i = num_blocks - 1; i >= 0; --i) free_.emplace_back(static_cast<int32_t>(i));
  const auto ring = static_cast<int32_t>(num_blocks);
  idle_.back() = {ring, ring};
}

bool BlockManager::grow(std::vector<BlockId>& blocks, int64_t positions) {
  const int64_t missing = blocks_for(positions) - static_cast<int64_t>(blocks.size());
  if (missing > num_free()) return false;
  for (int64_t i = 0; i < missing; ++i) blocks.push_back(take());
  return true;
}

void BlockManager::share(BlockId block) {
  int32_t& holders = holders_[static_cast<size_t>(block.value)];
  TUTTI_CHECK(holders > 0 || index_.contains(block), "only a block in use or idle can be shared");
  if (holders == 0) unlink_idle(block);
  ++holders;
}

void BlockManager::release(std::vector<BlockId>& blocks) {
  for (; !blocks.empty(); blocks.pop_back()) {
    const BlockId block = blocks.back();
    int32_t& holders = holders_[static_cast<size_t>(block.value)];
    TUTTI_CHECK(holders > 0, "a block was let go of twice");
    if (--holders > 0) continue;
    if (index_.contains(block)) {
      make_idle(block);
    } else {
      free_.push_back(block);
    }
  }
}

void BlockManager::forget_idle() {
  while (num_idle_ > 0) {
    const BlockId block(idle_.back().after);
    unlink_idle(block);
    index_.erase(block);
    free_.push_back(block);
  }
}

// A free block, else the one idle longest, which is forgotten.
BlockId BlockManager::take() {
  BlockId block(idle_.back().after);
  if (!free_.empty()) {
    block = free_.back();
    free_.pop_back();
  } else {
    unlink_idle(block);
    index_.erase(block);
  }
  holders_[static_cast<size_t>(block.value)] = 1;
  return block;
}

void BlockManager::make_idle(BlockId block) {
  const auto ring = static_cast<int32_t>(num_blocks());
  Link& ends = idle_.back();
  idle_[static_cast<size_t>(block.value)] = {ends.before, ring};
  idle_[static_cast<size_t>(ends.before)].after = block.value;
  ends.before = block.value;
  ++num_idle_;
}

void BlockManager::unlink_idle(BlockId block) {
  Link& own = idle_[static_cast<size_t>(block.value)];
  idle_[static_cast<size_t>(own.before)].after = own.after;
  idle_[static_cast<size_t>(own.after)].before = own.before;
  own = {};
  --num_idle_;
}

}  // namespace tutti::ar
