#include "models/encoder_cache.h"

#include <gtest/gtest.h>

namespace tutti {
namespace {

std::shared_ptr<const EncodedMedia> media(int64_t floats) {
  auto out = std::make_shared<EncodedMedia>();
  out->embeds = Tensor::zeros({1, floats / 2});
  out->deepstack = {Tensor::zeros({1, floats - floats / 2})};
  return out;
}

TEST(EncoderCache, DropsTheLeastRecentlyUsed) {
  EncoderCache cache(300 * sizeof(float));
  const MediaHash a{0, 1}, b{0, 2}, c{0, 3};
  cache.insert(a, media(100));
  cache.insert(b, media(100));
  cache.insert(c, media(100));
  EXPECT_EQ(cache.bytes(), 1200);
  ASSERT_NE(cache.find(a), nullptr);
  cache.insert({0, 4}, media(150));
  EXPECT_NE(cache.find(a), nullptr);
  EXPECT_EQ(cache.find(b), nullptr);
  EXPECT_EQ(cache.find(c), nullptr);
  EXPECT_EQ(cache.bytes(), 1000);
  EXPECT_EQ(cache.hits(), 2);
  EXPECT_EQ(cache.misses(), 2);
}

TEST(EncoderCache, LeavesOutWhatDoesNotFit) {
  EncoderCache cache(100);
  cache.insert({1, 1}, media(20));
  cache.insert({2, 2}, media(26));
  EXPECT_NE(cache.find({1, 1}), nullptr);
  EXPECT_EQ(cache.find({2, 2}), nullptr);
  EncoderCache none(0);
  none.insert({1, 1}, media(2));
  EXPECT_EQ(none.find({1, 1}), nullptr);
}

TEST(EncoderCache, EntriesOutliveTheCache) {
  EncoderCache cache(100);
  cache.insert({1, 1}, media(20));
  const auto kept = cache.find({1, 1});
  cache.clear();
  EXPECT_EQ(cache.find({1, 1}), nullptr);
  EXPECT_EQ(cache.bytes(), 0);
  EXPECT_EQ(kept->embeds.cols(), 10);
}

TEST(MediaHash, TellsContentAndMeaningApart) {
  const Tensor x = Tensor::zeros({4, 8});
  const std::array<int64_t, 2> meaning{1, 2}, other{2, 1};
  const MediaHash hash = hash_media(x, meaning);
  EXPECT_EQ(hash_media(x.clone(), meaning), hash);
  EXPECT_NE(hash_media(x, other), hash);
  EXPECT_NE(hash_media(x.slice(0, 3), meaning), hash);
  x.data<float>()[31] = 1e-30f;
  EXPECT_NE(hash_media(x, meaning), hash);
}

}  // namespace
}  // namespace tutti
