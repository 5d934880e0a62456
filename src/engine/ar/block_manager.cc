#include "engine/ar/block_manager.h"

#include "base/check.h"

namespace tutti::ar {

BlockManager::BlockManager(int64_t num_blocks, int32_t block_size)
    : block_size_(block_size), holders_(static_cast<size_t>(num_blocks), 0) {
  free_.reserve(holders_.size());
  for (int64_t i = num_blocks - 1; i >= 0; --i) free_.emplace_back(static_cast<int32_t>(i));
}

bool BlockManager::grow(std::vector<BlockId>& blocks, int64_t positions) {
  const int64_t missing = blocks_for(positions) - static_cast<int64_t>(blocks.size());
  if (missing > num_free()) return false;
  for (int64_t i = 0; i < missing; ++i) {
    const BlockId block = free_.back();
    free_.pop_back();
    holders_[static_cast<size_t>(block.value)] = 1;
    blocks.push_back(block);
  }
  return true;
}

void BlockManager::share(BlockId block) {
  int32_t& holders = holders_[static_cast<size_t>(block.value)];
  TUTTI_CHECK(holders > 0, "only a block in use can be shared");
  ++holders;
}

void BlockManager::release(std::vector<BlockId>& blocks) {
  for (; !blocks.empty(); blocks.pop_back()) {
    const BlockId block = blocks.back();
    int32_t& holders = holders_[static_cast<size_t>(block.value)];
    TUTTI_CHECK(holders > 0, "a block was let go of twice");
    if (--holders == 0) free_.push_back(block);
  }
}

}  // namespace tutti::ar
