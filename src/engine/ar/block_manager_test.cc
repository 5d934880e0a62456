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

PrefixHash hash_of(uint64_t low) { return {7, low}; }

TEST(BlockManager, AKnownBlockOutlivesItsHolderAndCountsAsFree) {
  BlockManager blocks(3, 4);
  std::vector<BlockId> own;
  ASSERT_TRUE(blocks.grow(own, 8));
  const BlockId known = own[0];
  blocks.remember(known, hash_of(1), {});
  blocks.release(own);
  EXPECT_EQ(blocks.num_free(), 3);
  EXPECT_EQ(blocks.num_idle(), 1);
  ASSERT_EQ(blocks.index().find(hash_of(1)), known);
  blocks.share(known);
  own.push_back(known);
  EXPECT_EQ(blocks.num_used(), 1);
  EXPECT_EQ(blocks.num_idle(), 0);
  blocks.release(own);
  blocks.forget_idle();
  EXPECT_FALSE(blocks.index().find(hash_of(1)));
  EXPECT_EQ(blocks.num_free(), 3);
  EXPECT_EQ(blocks.num_idle(), 0);
}

TEST(BlockManager, TakesTheBlockIdleLongestWhenNoOtherIsFree) {
  BlockManager blocks(4, 1);
  std::vector<BlockId> own;
  ASSERT_TRUE(blocks.grow(own, 3));
  // Let go of from the last to the first: the end of a prefix goes first.
  for (uint64_t i = 0; i < 3; ++i) blocks.remember(own[i], hash_of(i), {});
  blocks.release(own);
  std::vector<BlockId> other;
  ASSERT_TRUE(blocks.grow(other, 1));
  EXPECT_TRUE(blocks.index().find(hash_of(2)));
  ASSERT_TRUE(blocks.grow(other, 2));
  EXPECT_FALSE(blocks.index().find(hash_of(2)));
  ASSERT_TRUE(blocks.grow(other, 3));
  EXPECT_FALSE(blocks.index().find(hash_of(1)));
  EXPECT_TRUE(blocks.index().find(hash_of(0)));
}

TEST(BlockManager, KnowsAPrefixByOneBlock) {
  BlockManager blocks(64, 1);
  std::vector<BlockId> own;
  ASSERT_TRUE(blocks.grow(own, 64));
  // All in one bucket of the table.
  for (uint64_t i = 0; i < 64; ++i) blocks.remember(own[i], hash_of(i << 32), {});
  blocks.remember(own[5], hash_of(1), {});
  EXPECT_FALSE(blocks.index().find(hash_of(1)));
  for (uint64_t i = 0; i < 64; ++i) EXPECT_EQ(blocks.index().find(hash_of(i << 32)), own[i]);
  blocks.release(own);
  ASSERT_TRUE(blocks.grow(own, 32));
  for (uint64_t i = 0; i < 64; ++i)
    EXPECT_EQ(blocks.index().find(hash_of(i << 32)).has_value(), i < 32);
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
