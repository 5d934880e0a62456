#include "media/audible_onset.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace tutti {
namespace {

constexpr int32_t kRate = 24000;
constexpr size_t kWindow = 240;

std::vector<float> silence(size_t samples) { return std::vector<float>(samples, 0.0f); }
// As loud in every window as a constant of this level.
std::vector<float> sound(size_t samples, float level) {
  std::vector<float> out(samples);
  for (size_t i = 0; i < samples; ++i) out[i] = i % 2 == 0 ? level : -level;
  return out;
}
std::vector<float> operator+(std::vector<float> a, const std::vector<float>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(AudibleOnset, AClickIsNoSound) {
  // As an untrained beginning rings: -25 dB at its peak, -38 dB over its window, soon soft.
  std::vector<float> click;
  for (int i = 0; i < 240; ++i) click.push_back(0.057f * std::exp(-0.02f * static_cast<float>(i)));
  AudibleOnset onset;
  EXPECT_FALSE(onset.add(click + silence(2 * kWindow), kRate));
  EXPECT_FALSE(onset.found());
  EXPECT_TRUE(onset.add(sound(2 * kWindow, 0.1f), kRate));
  EXPECT_EQ(onset.onset(), int64_t{3 * kWindow});
}

TEST(AudibleOnset, IsTheSameHoweverTheSoundIsCut) {
  const std::vector<float> all = silence(1000) + sound(900, 0.02f);
  for (size_t size : {1u, 7u, 239u, 240u, 241u, 1900u}) {
    AudibleOnset onset;
    size_t found_at = 0;
    for (size_t at = 0; at < all.size(); at += size) {
      const std::span<const float> rest = std::span(all).subspan(at);
      if (onset.add(rest.first(std::min(size, rest.size())), kRate)) found_at = at;
    }
    EXPECT_EQ(onset.onset(), int64_t{4 * kWindow}) << size;
    EXPECT_EQ(found_at, (6 * kWindow - 1) / size * size) << size;
  }
}

TEST(AudibleOnset, IsALevelOverWholeWindows) {
  AudibleOnset below, above, unfinished;
  EXPECT_FALSE(below.add(sound(kRate, 0.99f * AudibleOnset::kAudible), kRate));
  EXPECT_TRUE(above.add(sound(2 * kWindow, 1.01f * AudibleOnset::kAudible), kRate));
  EXPECT_EQ(above.onset(), 0);
  EXPECT_FALSE(unfinished.add(sound(2 * kWindow - 1, 0.5f), kRate));
  EXPECT_FALSE(unfinished.add(sound(kWindow, 0.5f), 0)) << "no sound has this rate";
}

TEST(AudibleOnset, IsFoundOnce) {
  AudibleOnset onset;
  EXPECT_TRUE(onset.add(sound(2 * kWindow, 0.5f), kRate));
  EXPECT_FALSE(onset.add(sound(2 * kWindow, 0.5f), kRate));
  EXPECT_EQ(onset.onset(), 0);
}

}  // namespace
}  // namespace tutti
