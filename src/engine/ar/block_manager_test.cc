#include "engine/ar/block_manager.h"

#include <gtest/gtest.h>

#include <set>

namespace tutti::ar {
namespace {

TEST(BlockManager, GrowsByWholeBlocksAndOnlyWhenNeeded) {
  BlockManager blocks(4, 16);
  std::vector<BlockId> own;
  EXPECT_TRUE(blocks.grow(own, 16));
  EXPECT_EQ(own.size(), 1u);
  EXPECT_TRUE(blocks.grow(own, 17));
  EXPECT_EQ(own.size(), 2u);
  EXPECT_TRUE(blocks.grow(own, 3));
  EXPECT_EQ(own.size(), 2u);
  EXPECT_EQ(blocks.num_used(), 2);
}

TEST(BlockManager, ChangesNothingWhenTooFewAreFree) {
  BlockManager blocks(3, 4);
  std::vector<BlockId> first;
  std::vector<BlockId> second;
  ASSERT_TRUE(blocks.grow(first, 8));
  EXPECT_FALSE(blocks.grow(second, 8));
  EXPECT_TRUE(second.empty());
  EXPECT_EQ(blocks.num_free(), 1);
}

TEST(BlockManager, HandsOutEveryBlockOnce) {
  BlockManager blocks(8, 1);
  std::vector<BlockId> first;
  std::vector<BlockId> second;
  ASSERT_TRUE(blocks.grow(first, 5));
  ASSERT_TRUE(blocks.grow(second, 3));
  std::set<BlockId> all(first.begin(), first.end());
  all.insert(second.begin(), second.end());
  EXPECT_EQ(all.size(), 8u);
  blocks.release(first);
  EXPECT_TRUE(first.empty());
  EXPECT_EQ(blocks.num_free(), 5);
}

TEST(BlockManager, KeepsASharedBlockUntilItsLastHolderLetsGo) {
  BlockManager blocks(2, 4);
  std::vector<BlockId> first;
  ASSERT_TRUE(blocks.grow(first, 4));
  std::vector<BlockId> second = first;
  blocks.share(first[0]);
  blocks.release(first);
  EXPECT_EQ(blocks.num_used(), 1);
  blocks.release(second);
  EXPECT_EQ(blocks.num_used(), 0);
}

TEST(BlockManagerDeathTest, RefusesToLetGoTwice) {
  BlockManager blocks(2, 4);
  std::vector<BlockId> own;
  ASSERT_TRUE(blocks.grow(own, 4));
  std::vector<BlockId> copy = own;
  blocks.release(own);
  EXPECT_DEATH(blocks.release(copy), "let go of twice");
}

}  // namespace
}  // namespace tutti::ar
