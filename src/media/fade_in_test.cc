#include "media/fade_in.h"

#include <gtest/gtest.h>

#include <vector>

namespace tutti {
namespace {

TEST(FadeIn, RisesFromSilenceAndLeavesTheRestAlone) {
  std::vector<float> samples(200, 1.0f);
  fade_in(samples, 0, 120);
  EXPECT_LT(samples[0], 1e-4f);
  EXPECT_NEAR(samples[59] + samples[60], 1.0f, 1e-6f);
  for (size_t i = 1; i < 120; ++i) EXPECT_GT(samples[i], samples[i - 1]);
  for (size_t i = 120; i < 200; ++i) EXPECT_EQ(samples[i], 1.0f);
}

TEST(FadeIn, IsTheSameHoweverTheSoundIsCut) {
  std::vector<float> whole(200);
  for (size_t i = 0; i < whole.size(); ++i) whole[i] = 0.3f - 0.01f * static_cast<float>(i % 40);
  const std::vector<float> raw = whole;
  fade_in(whole, 0, 120);
  for (size_t size : {1u, 7u, 119u, 120u, 121u}) {
    std::vector<float> parts = raw;
    for (size_t at = 0; at < parts.size(); at += size) {
      const std::span<float> rest = std::span(parts).subspan(at);
      fade_in(rest.first(std::min(size, rest.size())), static_cast<int64_t>(at), 120);
    }
    EXPECT_EQ(parts, whole) << size;
  }
}

TEST(FadeIn, OfNoLengthChangesNothing) {
  std::vector<float> samples(3, 1.0f);
  fade_in(samples, 0, 0);
  EXPECT_EQ(samples, std::vector<float>(3, 1.0f));
}

}  // namespace
}  // namespace tutti
