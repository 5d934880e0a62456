#include "orchestrator/playback.h"

#include <gtest/gtest.h>

#include <vector>

namespace tutti {
namespace {

const std::vector<float> kSilence(100, 0.0f);
const std::vector<float> kSound(100, 0.5f);

TEST(Playback, SoundThatComesInTimeLeavesNoGap) {
  Playback playback;
  playback.add(10.0, kSound, 100);  // heard until 11
  playback.add(10.9, kSound, 100);  // until 12
  playback.add(12.0, kSound, 100);
  EXPECT_DOUBLE_EQ(playback.underrun_s(), 0);
  EXPECT_DOUBLE_EQ(playback.audio_s(), 3);
  EXPECT_DOUBLE_EQ(playback.first_audio_s(), 10);
}

TEST(Playback, LateSoundIsHeardLate) {
  Playback playback;
  playback.add(1.0, kSound, 100);   // until 2
  playback.add(2.5, kSound, 100);   // half a second of silence; until 3.5
  playback.add(3.75, kSound, 100);  // another quarter
  EXPECT_DOUBLE_EQ(playback.underrun_s(), 0.75);
}

TEST(Playback, SilenceIsPlayedButNotAudible) {
  Playback playback;
  playback.add(1.0, kSilence, 100);
  EXPECT_DOUBLE_EQ(playback.first_audio_s(), 0);
  playback.add(2.5, kSound, 100);
  EXPECT_DOUBLE_EQ(playback.first_audio_s(), 2.5);
  EXPECT_DOUBLE_EQ(playback.underrun_s(), 0.5);
}

TEST(Playback, AClickIsPlayedButNotAudible) {
  constexpr int32_t kRate = 24000;
  std::vector<float> click(480, 0.0f);
  click[0] = -0.045f;
  Playback playback;
  playback.add(1.0, click, kRate);
  playback.add(1.02, std::vector<float>(480, 0.0f), kRate);
  EXPECT_DOUBLE_EQ(playback.first_audio_s(), 0);
  // One and a half windows of speech, and the other half.
  playback.add(1.04, std::vector<float>(360, 0.1f), kRate);
  EXPECT_DOUBLE_EQ(playback.first_audio_s(), 0);
  playback.add(1.055, std::vector<float>(120, 0.1f), kRate);
  EXPECT_DOUBLE_EQ(playback.first_audio_s(), 1.055);
  playback.add(1.06, std::vector<float>(480, 0.1f), kRate);
  EXPECT_DOUBLE_EQ(playback.first_audio_s(), 1.055);
}

TEST(Playback, ThePauseBetweenTwoAnswersIsNoUnderrun) {
  Playback playback;
  playback.add(1.0, kSound, 100);
  playback.begin_answer();
  playback.add(60.0, kSound, 100);
  playback.add(61.5, kSound, 100);
  EXPECT_DOUBLE_EQ(playback.underrun_s(), 0.5);
  StageMetrics metrics;
  playback.report(metrics);
  EXPECT_DOUBLE_EQ(metrics.audio_s, 3);
  EXPECT_DOUBLE_EQ(metrics.first_audio_s, 1);
  EXPECT_DOUBLE_EQ(metrics.underrun_s, 0.5);
}

TEST(Playback, TheLastChunkCanBeCutToALimit) {
  Playback playback;
  playback.add(1.0, kSound, 100);
  playback.add(1.0, kSound, 100);
  AudioChunk last{kSound, 100};
  playback.trim_to(1.25, last);
  EXPECT_EQ(last.samples.size(), 25u);
  EXPECT_DOUBLE_EQ(playback.audio_s(), 1.25);
}

TEST(Playback, ChunksWithoutSamplesCountForNothing) {
  Playback playback;
  playback.add(1.0, {}, 100);
  playback.add(5.0, kSound, 100);
  EXPECT_DOUBLE_EQ(playback.underrun_s(), 0);
}

}  // namespace
}  // namespace tutti
