// Spoken conversations with the real binary: turns that are taken in while they are spoken,
// barge-in, what the history keeps, and clients that change their mind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <thread>

#include "socket_client.h"
#include "voice.h"
#include "websocket_client.h"

namespace tutti::testing {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kQuestion = voice(TUTTI_TEST_DATA "/nano/media/ask_legs.wav");
const std::string kIdle = "vllm:num_requests_running{model_name=\"nano\"} 0";

json::object settings(json::value turn_detection, const std::string& modality = "text") {
  return {{"type", "session.update"},
          {"session",
           {{"output_modalities", {modality}},
            {"temperature", 0},
            {"instructions", "Answer the question."},
            {"audio", {{"input", {{"turn_detection", std::move(turn_detection)}}}}}}}};
}

// Of one session on `server`.
class Talk {
 public:
  explicit Talk(const ServerProcess& server, const json::object& update = settings(nullptr))
      : client(server) {
    EXPECT_TRUE(client.next("session.created"));
    client.send(update);
    EXPECT_TRUE(client.next("session.updated"));
  }
  void say(const std::string& samples) {
    constexpr size_t kPiece = 100 * kVoiceBytesPerMs;
    for (size_t at = 0; at < samples.size(); at += kPiece) {
      client.send(
          {{"type", "input_audio_buffer.append"}, {"audio", base64(samples.substr(at, kPiece))}});
    }
  }
  std::string commit() {
    client.send({{"type", "input_audio_buffer.commit"}});
    const auto committed = client.next("input_audio_buffer.committed");
    return committed ? std::string(committed->at("item_id").as_string()) : "";
  }
  json::object answer() {
    client.send({{"type", "response.create"}});
    return done();
  }
  json::object done() {
    const auto event = client.next("response.done");
    return event ? event->at("response").as_object() : json::object();
  }
  std::string words_of(const std::string& item_id) {
    client.send({{"type", "conversation.item.retrieve"}, {"item_id", item_id}});
    const auto event = client.next("conversation.item.retrieved");
    if (!event) return "";
    const json::object& part = event->at("item").at("content").at(0).as_object();
    const json::value* words = part.if_contains("transcript");
    return json::value_to<std::string>(words ? *words : part.at("text"));
  }

  WebSocketClient client;
};

std::string text_of(const json::object& response) {
  EXPECT_EQ(response.at("status"), "completed") << json::serialize(response);
  const json::object& part = response.at("output").at(0).at("content").at(0).as_object();
  const json::value* transcript = part.if_contains("transcript");
  return json::value_to<std::string>(transcript ? *transcript : part.at("text"));
}
int64_t prompt_tokens(const json::object& response) {
  return response.at("usage").at("input_tokens").to_number<int64_t>();
}

TEST(Realtime, ATurnThatIsTakenInEarlyIsAnsweredAsOneThatIsNot) {
  const ServerProcess streaming;
  const ServerProcess whole({"--realtime-window", "0"});
  Talk early(streaming);
  Talk late(whole);
  for (int turn = 0; turn < 2; ++turn) {
    json::object answers[2];
    for (Talk* talk : {&early, &late}) {
      talk->say(kQuestion);
      talk->commit();
      answers[talk == &late] = talk->answer();
    }
    EXPECT_EQ(text_of(answers[0]), text_of(answers[1]));
    EXPECT_EQ(prompt_tokens(answers[0]), prompt_tokens(answers[1]));
  }
}

TEST(Realtime, ALongTurnIsOneMessageInWindows) {
  // Windows of one second: the question of 2.3 s and a silence are three of them and a rest.
  const ServerProcess server({"--realtime-window", "1"});
  Talk talk(server);
  const auto input = [](const json::object& response) { return prompt_tokens(response); };
  talk.say(kQuestion + quiet(3000));
  const std::string item = talk.commit();
  ASSERT_NE(item, "");
  const json::object answer = talk.answer();
  EXPECT_NE(text_of(answer), "");
  // The next turn's history is that message again, as it was heard.
  talk.say(kQuestion);
  talk.commit();
  const json::object second = talk.answer();
  EXPECT_NE(text_of(second), "");
  EXPECT_GT(input(second), input(answer));
  EXPECT_THAT(metrics_with(server, kIdle), HasSubstr(kIdle));
}

TEST(Realtime, WhatChangesDuringATurnCounts) {
  // The same turn after the same history, told in one go and with changes while it is spoken.
  const ServerProcess server;
  const json::object ask{{"type", "conversation.item.create"},
                         {"item",
                          {{"id", "first"},
                           {"type", "message"},
                           {"role", "user"},
                           {"content", {{{"type", "input_text"}, {"text", "Hello"}}}}}}};
  Talk plain(server);
  plain.say(kQuestion);
  plain.commit();
  const json::object expected = plain.answer();

  Talk deleted(server);
  deleted.client.send(ask);
  deleted.say(kQuestion.substr(0, kQuestion.size() / 2));
  deleted.client.send({{"type", "conversation.item.delete"}, {"item_id", "first"}});
  deleted.say(kQuestion.substr(kQuestion.size() / 2));
  deleted.commit();
  const json::object without = deleted.answer();
  EXPECT_EQ(text_of(without), text_of(expected));
  EXPECT_EQ(prompt_tokens(without), prompt_tokens(expected));

  json::object other = settings(nullptr);
  other["session"].as_object()["instructions"] = "Say it in one word, if you can, or in two.";
  Talk updated(server, other);
  updated.say(kQuestion.substr(0, kQuestion.size() / 2));
  updated.client.send(settings(nullptr));
  updated.say(kQuestion.substr(kQuestion.size() / 2));
  updated.commit();
  const json::object as_updated = updated.answer();
  EXPECT_EQ(text_of(as_updated), text_of(expected));
  EXPECT_EQ(prompt_tokens(as_updated), prompt_tokens(expected));
  EXPECT_THAT(metrics_with(server, kIdle), HasSubstr(kIdle));
}

TEST(Realtime, TurnsThatComeToNothingLeaveNothingBehind) {
  const ServerProcess server;
  Talk talk(server);
  talk.say(kQuestion);
  talk.client.send({{"type", "input_audio_buffer.clear"}});
  ASSERT_TRUE(talk.client.next("input_audio_buffer.cleared"));
  EXPECT_THAT(metrics_with(server, kIdle), HasSubstr(kIdle));
  // What was cleared was not said.
  talk.say(kQuestion);
  talk.commit();
  const json::object answer = talk.answer();
  Talk fresh(server);
  fresh.say(kQuestion);
  fresh.commit();
  EXPECT_EQ(prompt_tokens(fresh.answer()), prompt_tokens(answer));
  {
    Talk leaves(server);
    leaves.say(kQuestion);
  }
  EXPECT_THAT(metrics_with(server, kIdle), HasSubstr(kIdle));
}

TEST(Realtime, HearsWhenSomebodySpeaksAndAnswersAloud) {
  const ServerProcess server;
  json::object update = settings({{"type", "server_vad"}}, "audio");
  update["session"].at("audio").at("input").as_object()["transcription"] =
      json::object{{"model", "nano"}};
  Talk talk(server, update);
  talk.say(quiet(500) + kQuestion + quiet(900));
  const auto started = talk.client.next("input_audio_buffer.speech_started");
  ASSERT_TRUE(started);
  const auto stopped = talk.client.next("input_audio_buffer.speech_stopped");
  ASSERT_TRUE(stopped);
  EXPECT_EQ(started->at("item_id"), stopped->at("item_id"));
  const json::object response = talk.done();
  EXPECT_NE(text_of(response), "");
  size_t sound = 0;
  bool transcribed = false;
  for (const json::object& event : talk.client.passed) {
    if (event.at("type") == "response.output_audio.delta") ++sound;
    transcribed |= event.at("type") == "conversation.item.input_audio_transcription.completed";
  }
  EXPECT_GT(sound, 1u);
  if (!transcribed) {
    const auto event = talk.client.next("conversation.item.input_audio_transcription.completed");
    ASSERT_TRUE(event);
    EXPECT_EQ(event->at("item_id"), started->at("item_id"));
    EXPECT_NE(event->at("transcript"), "");
  }
}

TEST(Realtime, AfterABargeInTheHistoryHasOnlyWhatWasHeard) {
  const ServerProcess server;
  json::object update = settings({{"type", "server_vad"}}, "audio");
  Talk talk(server, update);
  talk.say(quiet(500) + kQuestion + quiet(900));
  const auto delta = talk.client.next("response.output_audio.delta");
  ASSERT_TRUE(delta);
  const std::string item(delta->at("item_id").as_string());
  // The person speaks again at once.
  talk.say(kQuestion);
  const auto cut = talk.client.next("conversation.item.truncated");
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->at("item_id"), json::value(item));
  const int64_t heard_ms = cut->at("audio_end_ms").to_number<int64_t>();
  std::string said;
  for (const json::object& event : talk.client.passed) {
    if (event.at("type") == "response.output_audio_transcript.delta")
      said += event.at("delta").as_string();
  }
  const std::string heard = talk.words_of(item);
  EXPECT_LT(heard.size(), 60u);
  // A client that knows better says so; more than was sent cannot have been heard.
  talk.client.send({{"type", "conversation.item.truncate"},
                    {"item_id", item},
                    {"content_index", 0},
                    {"audio_end_ms", 3'600'000}});
  EXPECT_TRUE(talk.client.next("error"));
  talk.client.send({{"type", "conversation.item.truncate"},
                    {"item_id", item},
                    {"content_index", 0},
                    {"audio_end_ms", 0}});
  EXPECT_TRUE(talk.client.next("conversation.item.truncated"));
  EXPECT_EQ(talk.words_of(item), "");
  EXPECT_GE(heard_ms, 0);
  talk.say(quiet(900));
  EXPECT_NE(text_of(talk.done()), "");
}

TEST(Realtime, AnswersCanBeCancelledAndOnesThatRunAreNotDoubled) {
  const ServerProcess server;
  Talk talk(server, settings(nullptr, "audio"));
  talk.say(kQuestion);
  talk.commit();
  talk.client.send({{"type", "response.create"}});
  ASSERT_TRUE(talk.client.next("response.created"));
  talk.client.send({{"type", "response.create"}});
  talk.client.send({{"type", "response.cancel"}});
  EXPECT_TRUE(talk.client.next("error"));
  const json::object cancelled = talk.done();
  EXPECT_EQ(cancelled.at("status"), "cancelled");
  EXPECT_EQ(cancelled.at("status_details").at("reason"), "client_cancelled");
  EXPECT_NE(text_of(talk.answer()), "");
  EXPECT_THAT(metrics_with(server, kIdle), HasSubstr(kIdle));
}

}  // namespace
}  // namespace tutti::testing
