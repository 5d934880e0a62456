#include "serve/voice_activity.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tutti::serve {
namespace {

constexpr int32_t kRate = 24000;

// Seconds of a tone at a level, over a little noise.
void add(std::vector<float>& sound, double seconds, float level) {
  uint32_t state = 1;
  const auto count = static_cast<size_t>(seconds * kRate);
  for (size_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    const float noise = (static_cast<float>(state >> 16) / 65536.0f - 0.5f) * 0.004f;
    sound.push_back(noise + level * std::sin(static_cast<float>(i) * 0.05f));
  }
}

std::vector<VoiceActivity::Event> run(const std::vector<float>& sound, size_t chunk,
                                      VoiceActivityOptions options = {}) {
  VoiceActivity detector(kRate, options);
  std::vector<VoiceActivity::Event> events;
  for (size_t at = 0; at < sound.size(); at += chunk) {
    const auto more =
        detector.append(std::span(sound).subspan(at, std::min(chunk, sound.size() - at)));
    events.insert(events.end(), more.begin(), more.end());
  }
  return events;
}

TEST(VoiceActivityTest, FindsBeginningAndEndOfATurn) {
  std::vector<float> sound;
  add(sound, 1.0, 0);
  add(sound, 1.0, 0.2f);
  add(sound, 1.0, 0);
  for (const size_t chunk : {size_t{100}, size_t{960}, size_t{24000}}) {
    const auto events = run(sound, chunk);
    ASSERT_EQ(events.size(), 2u);
    EXPECT_TRUE(events[0].started);
    EXPECT_NEAR(static_cast<double>(events[0].at_ms), 1000 - 300, 40);
    EXPECT_FALSE(events[1].started);
    EXPECT_NEAR(static_cast<double>(events[1].at_ms), 2000, 40);
  }
}

TEST(VoiceActivityTest, PausesShorterThanTheSilenceBelongToTheTurn) {
  std::vector<float> sound;
  add(sound, 0.5, 0);
  add(sound, 0.5, 0.2f);
  add(sound, 0.3, 0);
  add(sound, 0.5, 0.2f);
  add(sound, 0.8, 0);
  EXPECT_EQ(run(sound, 960).size(), 2u);
  VoiceActivityOptions quick;
  quick.silence_duration_ms = 200;
  EXPECT_EQ(run(sound, 960, quick).size(), 4u);
}

TEST(VoiceActivityTest, NoiseAndClicksAreNoSpeech) {
  std::vector<float> sound;
  add(sound, 1.0, 0);
  add(sound, 0.03, 0.5f);
  add(sound, 1.0, 0);
  EXPECT_TRUE(run(sound, 960).empty());
}

}  // namespace
}  // namespace tutti::serve
