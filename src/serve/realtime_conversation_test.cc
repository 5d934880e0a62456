// What of a spoken conversation the model is told again: what was heard, and nothing else.
#include "serve/realtime_conversation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

namespace tutti::serve {
namespace {

using ::testing::ElementsAre;

// 60 characters, four seconds of speech.
constexpr const char* kAnswer = "The boat is late today, and so nobody waits for it any more.";

ConversationItem answer(int64_t audio_ms, bool complete) {
  ConversationItem item;
  item.id = "answer";
  item.role = "assistant";
  item.content = {ItemPart::written(kAnswer)};
  item.content.front().spoken = true;
  item.audio_ms = audio_ms;
  item.audio_complete = complete;
  return item;
}

std::vector<std::string> texts(const Conversation& conversation) {
  std::vector<std::string> out;
  for (const ChatMessage& message : conversation.messages("")) {
    for (const ContentPart& part : message.content) out.push_back(part.text);
  }
  return out;
}

TEST(ConversationTest, OfAnInterruptedAnswerTheWordsThatWereHeardStay) {
  ConversationItem item = answer(4000, true);
  EXPECT_EQ(item.heard_text(item.content.front()), kAnswer);  // nobody interrupted
  item.heard_ms = 2000;
  EXPECT_EQ(item.heard_text(item.content.front()), "The boat is late today, and so");
  item.heard_ms = 4000;
  EXPECT_EQ(item.heard_text(item.content.front()), kAnswer);
  item.heard_ms = 100;
  EXPECT_EQ(item.heard_text(item.content.front()), "");
}

TEST(ConversationTest, WordsWithoutSoundWereNotHeard) {
  // All words are known, and half a second of their sound, when the person interrupts.
  ConversationItem item = answer(500, false);
  item.heard_ms = 500;
  EXPECT_EQ(item.heard_text(item.content.front()), "The");
  item.heard_ms = 0;
  EXPECT_EQ(item.heard_text(item.content.front()), "");
}

TEST(ConversationTest, TheHistoryHasOnlyWhatWasHeard) {
  Conversation conversation;
  ConversationItem question;
  question.id = "question";
  question.role = "user";
  question.content = {ItemPart::written("When does the boat leave?")};
  conversation.insert(question, "");
  conversation.insert(answer(4000, true), "");
  conversation.find("answer")->heard_ms = 2000;
  EXPECT_THAT(texts(conversation),
              ElementsAre("When does the boat leave?", "The boat is late today, and so"));
  EXPECT_EQ(conversation.find("answer")->json().at("content").at(0).at("transcript"),
            "The boat is late today, and so");
  // An answer of which nothing was heard was never said.
  conversation.find("answer")->heard_ms = 0;
  EXPECT_THAT(texts(conversation), ElementsAre("When does the boat leave?"));
}

TEST(ConversationTest, CutsBetweenCharacters) {
  ConversationItem item = answer(1000, true);
  std::string& text = item.content.front().text = "\u00e4\u00f6\u00fc \u00e4\u00f6\u00fc";
  for (int64_t ms = 0; ms <= 1000; ms += 50) {
    item.heard_ms = ms;
    EXPECT_THAT(item.heard_text(item.content.front()),
                ::testing::AnyOf("", "\u00e4\u00f6\u00fc", text))
        << ms;
  }
}

TEST(ConversationTest, ATurnInPartsIsOneMessage) {
  Conversation conversation;
  ConversationItem item;
  item.id = "spoken";
  item.role = "user";
  ItemPart part;
  part.spoken = true;
  part.text = "its transcript";  // which the model needs not, it has heard it
  for (int i = 0; i < 2; ++i) part.sounds.push_back(std::make_shared<std::vector<std::byte>>());
  item.content = {part, ItemPart::written("And this besides.")};
  conversation.insert(item, "");
  const std::vector<ChatMessage> messages = conversation.messages("Be brief.");
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[0].role, "system");
  ASSERT_EQ(messages[1].content.size(), 3u);
  EXPECT_EQ(messages[1].content[0].media->bytes, part.sounds[0]);
  EXPECT_EQ(messages[1].content[1].media->bytes, part.sounds[1]);
  EXPECT_EQ(messages[1].content[2].text, "And this besides.");
}

TEST(ConversationTest, PartsStayInTheirOrder) {
  ItemPart sound;
  sound.spoken = true;
  sound.sounds.push_back(std::make_shared<std::vector<std::byte>>());
  ItemPart picture;
  picture.media = MediaItem{.kind = MediaKind::kImage, .path_or_url = "data:image/png;base64,AA=="};
  picture.detail = "low";
  ConversationItem item;
  item.role = "user";
  item.content = {ItemPart::written("Before."), sound, picture, ItemPart::written("After.")};
  const ChatMessage message = item.message().value();
  ASSERT_EQ(message.content.size(), 4u);
  EXPECT_EQ(message.content[0].text, "Before.");
  EXPECT_EQ(message.content[1].media->kind, MediaKind::kAudio);
  EXPECT_EQ(message.content[2].media->kind, MediaKind::kImage);
  EXPECT_EQ(message.content[3].text, "After.");
  EXPECT_EQ(boost::json::serialize(item.json().at("content")),
            R"([{"type":"input_text","text":"Before."},{"type":"input_audio","transcript":null},)"
            R"({"type":"input_image","image_url":"data:image/png;base64,AA==","detail":"low"},)"
            R"({"type":"input_text","text":"After."}])");
}

TEST(ConversationTest, ItemsAndTheirBytesAreBounded) {
  Conversation conversation;
  ConversationItem large;
  large.id = "large";
  large.role = "user";
  large.content = {ItemPart::written(std::string(Conversation::kMostBytes - 10, 'x'))};
  EXPECT_TRUE(conversation.room_for(large.bytes()).ok());
  conversation.insert(std::move(large), "");
  EXPECT_TRUE(conversation.room_for(10).ok());
  EXPECT_FALSE(conversation.room_for(11).ok());
  conversation.erase("large");
  for (size_t i = 0; i < Conversation::kMostItems; ++i) {
    EXPECT_TRUE(conversation.room_for(1000).ok());
    ConversationItem item;
    item.id = std::to_string(i);
    conversation.insert(std::move(item), "");
  }
  EXPECT_FALSE(conversation.room_for(0).ok());
}

TEST(InputBufferTest, GivesPartsByTheirTimeInTheStream) {
  InputBuffer buffer(1000);
  std::vector<int16_t> samples(100);
  for (size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<int16_t>(i);
  buffer.append(samples);
  buffer.keep_last(60);  // 40..99 ms
  EXPECT_EQ(buffer.first_ms(), 40);
  const auto part = [&](int64_t begin, int64_t end) {
    const Sound file = buffer.file(begin, end);
    constexpr size_t kHeader = 44;
    std::vector<int16_t> out((file->size() - kHeader) / 2);
    std::memcpy(out.data(), file->data() + kHeader, 2 * out.size());
    return out;
  };
  EXPECT_THAT(part(50, 53), ElementsAre(50, 51, 52));
  EXPECT_EQ(part(0, 1000).size(), 60u);
  EXPECT_THAT(part(98, 200), ElementsAre(98, 99));
  buffer.clear();
  buffer.append(samples);
  EXPECT_THAT(part(100, 102), ElementsAre(0, 1));
}

}  // namespace
}  // namespace tutti::serve
