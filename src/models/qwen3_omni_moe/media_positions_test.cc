#include "models/qwen3_omni_moe/media_positions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/qwen3_omni_moe/talker_inputs.h"

namespace tutti::qwen3_omni_moe {
namespace {

using ::testing::ElementsAre;

constexpr int32_t kText = 1, kAudio = 11, kImage = 12, kVideo = 13, kAudioStart = 14,
                  kAudioEnd = 15, kVisionStart = 16, kVisionEnd = 17;

class MediaPositions : public ::testing::Test {
 protected:
  MediaPositions() {
    c_.audio.emplace().n_window = 50;
    c_.vision.emplace().spatial_merge_size = 2;
    c_.audio_token_id = kAudio;
    c_.image_token_id = kImage;
    c_.video_token_id = kVideo;
    c_.audio_start_token_id = kAudioStart;
    c_.audio_end_token_id = kAudioEnd;
    c_.vision_start_token_id = kVisionStart;
    c_.vision_end_token_id = kVisionEnd;
    c_.position_id_per_seconds = 13;
  }
  static MediaInput item(MediaKind kind, std::array<int64_t, 3> grid, float seconds = 0) {
    MediaInput out;
    out.kind = kind;
    out.grid_thw = grid;
    out.second_per_grid = seconds;
    return out;
  }
  std::vector<float> axis(int a) const {
    std::vector<float> out;
    for (size_t i = 0; i < ids_.size(); ++i) out.push_back(rope_.at(a, static_cast<int64_t>(i)));
    return out;
  }
  void lay_out(std::vector<int32_t> ids, const PromptMedia& media) {
    ids_ = std::move(ids);
    rope_ = media_positions(c_, ids_, media);
  }

  ThinkerConfig c_;
  std::vector<int32_t> ids_;
  RopeIndex rope_;
};

TEST_F(MediaPositions, RowsOfSoundsFollowTheConvolutions) {
  EXPECT_EQ(c_.audio->rows(1), 1);
  EXPECT_EQ(c_.audio->rows(8), 1);
  EXPECT_EQ(c_.audio->rows(9), 2);
  EXPECT_EQ(c_.audio->rows(100), 13);
  EXPECT_EQ(c_.audio->rows(101), 14);
  EXPECT_EQ(c_.audio->rows(312), 41);
}

TEST_F(MediaPositions, SoundAloneIsText) {
  lay_out({kText, kAudioStart, kAudio, kAudio, kAudioEnd}, {{item(MediaKind::kAudio, {10, 0, 0})}});
  EXPECT_THAT(axis(1), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_EQ(rope_.delta(), 0);
}

TEST_F(MediaPositions, TextGoesOnBehindTheWidestSide) {
  lay_out({kText, kVisionStart, kImage, kImage, kImage, kVisionEnd, kText},
          {{item(MediaKind::kImage, {1, 2, 6})}});
  EXPECT_THAT(axis(0), ElementsAre(0, 1, 2, 2, 2, 5, 6));
  EXPECT_THAT(axis(1), ElementsAre(0, 1, 2, 2, 2, 5, 6));
  EXPECT_THAT(axis(2), ElementsAre(0, 1, 2, 3, 4, 5, 6));
  EXPECT_EQ(rope_.delta(), 0);
  EXPECT_EQ(rope_.at(1, 9), 9);
}

TEST_F(MediaPositions, TimesOfClipsCanBeFractions) {
  // A temporal patch each 0.7 seconds: 9.1 positions.
  lay_out({kVisionStart, kVideo, kVideo, kVisionEnd, kText},
          {{item(MediaKind::kVideo, {2, 2, 2}, 0.7f)}});
  const float second = 1.0f * 0.7f * 13.0f + 1.0f;
  EXPECT_THAT(axis(0), ElementsAre(0, 1, second, second + 1, second + 2));
  EXPECT_THAT(axis(2), ElementsAre(0, 1, 1, second + 1, second + 2));
  EXPECT_FLOAT_EQ(rope_.delta(), second + 3 - 5);
}

TEST_F(MediaPositions, SoundLiesBetweenTheFramesOfItsClip) {
  // Frames at 0 and 2.6 positions, five rows of sound.
  lay_out({kVisionStart, kAudioStart, kVideo, kAudio, kAudio, kAudio, kVideo, kAudio, kAudio,
           kAudioEnd, kVisionEnd, kText},
          {{item(MediaKind::kVideo, {2, 2, 2}, 0.2f), item(MediaKind::kAudio, {40, 0, 0})}, true});
  const float second = 1.0f * 0.2f * 13.0f + 2.0f;
  EXPECT_THAT(axis(0), ElementsAre(0, 1, 2, 2, 3, 4, second, 5, 6, 7, 8, 9));
  EXPECT_THAT(axis(1), ElementsAre(0, 1, 2, 2, 3, 4, 2, 5, 6, 7, 8, 9));
  EXPECT_EQ(rope_.delta(), -2);
}

TEST_F(MediaPositions, MissingItemsLeaveText) {
  lay_out({kVisionStart, kImage, kVisionEnd, kVisionStart, kImage, kVisionEnd, kVisionStart},
          {{item(MediaKind::kImage, {1, 2, 2})}});
  EXPECT_THAT(axis(0), ElementsAre(0, 1, 2, 3, 4, 5, 6));
  lay_out({kVisionStart, kText, kImage}, {{item(MediaKind::kImage, {1, 2, 2})}});
  EXPECT_THAT(axis(0), ElementsAre(0, 1, 2));
}

TEST_F(MediaPositions, TheTalkerKeepsTheMediaOfUserParts) {
  constexpr int32_t kStart = 2, kSystem = 3, kUser = 4, kAssistant = 5;
  Config config;
  config.thinker = c_;
  config.im_start_token_id = kStart;
  config.system_token_id = kSystem;
  config.user_token_id = kUser;
  config.assistant_token_id = kAssistant;
  config.tts_pad_token_id = 6;
  TalkerInputs inputs(config, 0);
  const std::vector<int32_t> prompt = {kStart, kSystem, kImage, kImage, kAudio,     kStart,
                                       kUser,  kImage,  kAudio, kStart, kAssistant, 7};
  ASSERT_TRUE(inputs.append(prompt, static_cast<int64_t>(prompt.size())).ok());
  const PromptMedia kept =
      inputs.kept_media({{item(MediaKind::kImage, {2, 2, 2}), item(MediaKind::kAudio, {1, 0, 0}),
                          item(MediaKind::kImage, {1, 2, 2}), item(MediaKind::kAudio, {2, 0, 0})}});
  ASSERT_EQ(kept.items.size(), 2u);
  EXPECT_EQ(kept.items[0].kind, MediaKind::kAudio);
  EXPECT_EQ(kept.items[0].grid_thw[0], 2);
  EXPECT_EQ(kept.items[1].grid_thw[0], 1);
}

TEST_F(MediaPositions, PayloadsCarryTheLayout) {
  PromptMedia media{{item(MediaKind::kVideo, {2, 4, 2}, 0.5f), item(MediaKind::kAudio, {9, 0, 0})},
                    true};
  media.items[1].hash = {1, 2};
  StagePayload payload;
  put_media(media, false, payload);
  const auto back = take_media(payload, c_);
  ASSERT_TRUE(back.ok());
  ASSERT_EQ(back->items.size(), 2u);
  EXPECT_TRUE(back->audio_in_video);
  EXPECT_EQ(back->items[0].grid_thw, media.items[0].grid_thw);
  EXPECT_EQ(back->items[0].second_per_grid, 0.5f);
  EXPECT_EQ(back->items[1].hash, media.items[1].hash);
  EXPECT_EQ(back->items[1].kind, MediaKind::kAudio);
  StagePayload empty;
  put_media({}, true, empty);
  EXPECT_TRUE(empty.empty());
  EXPECT_TRUE(take_media(empty, c_)->items.empty());
}

}  // namespace
}  // namespace tutti::qwen3_omni_moe
