#include "models/qwen3_omni_moe/talker_inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tutti::qwen3_omni_moe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

enum : int32_t {
  kStart = 1,
  kSystem,
  kUser,
  kAssistant,
  kTool,
  kNewline,
  kImage,
  kPad,
  kBos,
  kEos,
};

Config config() {
  Config c;
  c.im_start_token_id = kStart;
  c.system_token_id = kSystem;
  c.user_token_id = kUser;
  c.assistant_token_id = kAssistant;
  c.tts_pad_token_id = kPad;
  c.tts_bos_token_id = kBos;
  c.tts_eos_token_id = kEos;
  c.thinker.audio_token_id = 100;
  c.thinker.image_token_id = kImage;
  c.thinker.video_token_id = 102;
  c.talker.codec_nothink_id = 201;
  c.talker.codec_think_bos_id = 202;
  c.talker.codec_think_eos_id = 203;
  c.talker.codec_pad_id = 204;
  c.talker.codec_bos_id = 205;
  return c;
}

class TalkerInputsTest : public ::testing::Test {
 protected:
  std::vector<int32_t> texts(int64_t count) const {
    std::vector<int32_t> out;
    for (int64_t p = 0; p < count; ++p) out.push_back(inputs_.row(p).text_id);
    return out;
  }
  std::vector<int32_t> codecs(int64_t count) const {
    std::vector<int32_t> out;
    for (int64_t p = 0; p < count; ++p) out.push_back(inputs_.row(p).codec_id);
    return out;
  }
  Status append(const std::vector<int32_t>& ids, int64_t prompt_length = -1) {
    return inputs_.append(ids, prompt_length);
  }

  const Config config_ = config();
  TalkerInputs inputs_{config_, 250};
  const std::vector<int32_t> prompt_ = {
      kStart, kSystem,    kNewline, 30,                  // left out
      kStart, kUser,      kNewline, 31, kImage, kImage,  // kept
      kStart, kAssistant, kNewline, 32,                  // an earlier answer: left out
      kStart, kUser,      kNewline, 33,                  // kept
      kStart, kAssistant, kNewline};                     // open
};

TEST_F(TalkerInputsTest, KeepsUserPartsAndTheOpenAnswer) {
  ASSERT_TRUE(append(prompt_, 21).ok());
  EXPECT_EQ(inputs_.prompt_length(), -1);
  ASSERT_TRUE(append({40}).ok());
  ASSERT_EQ(inputs_.prompt_length(), 19);
  EXPECT_THAT(texts(19),
              ElementsAre(kStart, kUser, kNewline, 31, kImage, kImage, kStart, kUser, kNewline, 33,
                          kStart, kAssistant, kNewline, kPad, kPad, kPad, kPad, kBos, 40));
  EXPECT_THAT(codecs(19), ElementsAre(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 201, 202,
                                      203, 250, 204, 205));
  EXPECT_EQ(inputs_.row(4).media_row, 0);
  EXPECT_EQ(inputs_.row(5).media_row, 1);
  EXPECT_EQ(inputs_.row(3).media_row, -1);
  EXPECT_THAT(inputs_.position_ids(),
              ElementsAre(kStart, kUser, kNewline, 31, kImage, kImage, kStart, kUser, kNewline, 33,
                          kPad, kPad, kPad, kPad, kPad, kPad, kPad, kPad, kPad));
}

TEST_F(TalkerInputsTest, FollowsTheAnswerThenEndsThenPads) {
  ASSERT_TRUE(append(prompt_, 21).ok());
  ASSERT_TRUE(append({40, 41, 42}).ok());
  EXPECT_TRUE(inputs_.text_ready(0));
  EXPECT_TRUE(inputs_.text_ready(1));
  EXPECT_FALSE(inputs_.text_ready(2));
  inputs_.complete();
  EXPECT_TRUE(inputs_.text_ready(2));
  const int64_t p = inputs_.prompt_length();
  EXPECT_EQ(inputs_.row(p).text_id, 41);
  EXPECT_EQ(inputs_.row(p + 1).text_id, 42);
  EXPECT_EQ(inputs_.row(p + 2).text_id, kEos);
  EXPECT_EQ(inputs_.row(p + 3).text_id, kPad);
  EXPECT_EQ(inputs_.row(p + 3).codec_id, -1);
}

TEST_F(TalkerInputsTest, PromptMayComeInPieces) {
  ASSERT_TRUE(append({prompt_.begin(), prompt_.begin() + 7}, 21).ok());
  ASSERT_TRUE(append({prompt_.begin() + 7, prompt_.end()}).ok());
  ASSERT_TRUE(append({40}).ok());
  EXPECT_EQ(inputs_.prompt_length(), 19);
}

TEST_F(TalkerInputsTest, SpeaksWhatThePromptHoldsOfTheAnswer) {
  std::vector<int32_t> prompt = prompt_;
  prompt.push_back(60);
  ASSERT_TRUE(append(prompt, 22).ok());
  ASSERT_TRUE(append({61}).ok());
  EXPECT_EQ(inputs_.prompt_length(), 19);
  EXPECT_EQ(inputs_.row(18).text_id, 60);
  EXPECT_EQ(inputs_.row(19).text_id, 61);
}

TEST_F(TalkerInputsTest, MediaOfOtherPartsKeepsTheOrderOfRows) {
  ASSERT_TRUE(append({kStart, kTool, kNewline, kImage, kStart, kUser, kNewline, kImage, kStart,
                      kAssistant, kNewline},
                     11)
                  .ok());
  EXPECT_EQ(inputs_.row(3).media_row, 1);
}

TEST_F(TalkerInputsTest, RefusesPromptsWithoutAnOpenAnswer) {
  EXPECT_THAT(append({30, 31}, 2).message(), HasSubstr("open assistant part; found none"));
  TalkerInputs user_last(config_, 250);
  EXPECT_FALSE(user_last.append(std::vector<int32_t>{kStart, kUser, kNewline}, 3).ok());
  TalkerInputs cut(config_, 250);
  EXPECT_FALSE(cut.append(std::vector<int32_t>{kStart, kAssistant}, 2).ok());
}

}  // namespace
}  // namespace tutti::qwen3_omni_moe
