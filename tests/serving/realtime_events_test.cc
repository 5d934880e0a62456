// The events of a realtime session as OpenAI has them: what answers are asked for, what items look
// like, and what is refused, by which name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "socket_client.h"
#include "voice.h"
#include "websocket_client.h"

namespace tutti::testing {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;

const std::string kIdle = "vllm:num_requests_running{model_name=\"nano\"} 0";

json::object message(const std::string& id, const std::string& text) {
  json::object item{{"type", "message"},
                    {"role", "user"},
                    {"content", {{{"type", "input_text"}, {"text", text}}}}};
  if (!id.empty()) item["id"] = id;
  return item;
}

// A server for all tests, a socket for each.
class RealtimeEvents : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<ServerProcess>(); }
  static void TearDownTestSuite() {
    EXPECT_THAT(metrics_with(*server_, kIdle), HasSubstr(kIdle));
    EXPECT_EQ(server_->stop(), 0);
    server_.reset();
  }
  void SetUp() override {
    client_ = std::make_unique<WebSocketClient>(*server_);
    ASSERT_TRUE(client_->next("session.created"));
    update({{"output_modalities", {"text"}}, {"temperature", 0}});
  }

  json::object update(json::object session) {
    client_->send({{"type", "session.update"}, {"session", std::move(session)}});
    const auto updated = client_->next("session.updated");
    return updated ? updated->at("session").as_object() : json::object();
  }
  json::object say(const std::string& id, const std::string& text) {
    client_->send({{"type", "conversation.item.create"}, {"item", message(id, text)}});
    const auto done = client_->next("conversation.item.done");
    return done ? done->at("item").as_object() : json::object();
  }
  void ask(json::object response) {
    client_->send({{"type", "response.create"}, {"response", std::move(response)}});
  }
  json::object done() {
    const auto event = client_->next("response.done");
    return event ? event->at("response").as_object() : json::object();
  }
  json::object error() {
    const auto event = client_->next();
    if (!event || event->at("type") != "error") {
      ADD_FAILURE() << (event ? json::serialize(*event) : "closed");
      return {{"code", ""}, {"message", ""}, {"param", ""}};
    }
    return event->at("error").as_object();
  }
  bool has_passed(const std::string& type) const {
    for (const json::object& event : client_->passed) {
      if (event.at("type") == json::string_view(type)) return true;
    }
    return false;
  }

  static inline std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<WebSocketClient> client_;
};

std::string text_of(const json::object& response) {
  EXPECT_EQ(response.at("status"), "completed") << json::serialize(response);
  return json::value_to<std::string>(response.at("output").at(0).at("content").at(0).at("text"));
}

TEST_F(RealtimeEvents, AnswersBesideTheConversationLeaveNoTrace) {
  const json::object metadata{{"topic", "capitals"}, {"number", "1"}};
  ask({{"conversation", "none"},
       {"metadata", metadata},
       {"input", {message("", "What is the capital of France?")}}});
  const json::object answer = done();
  EXPECT_THAT(text_of(answer), HasSubstr("Paris"));
  EXPECT_EQ(answer.at("metadata"), json::value(metadata));
  EXPECT_TRUE(answer.at("conversation_id").is_null());
  EXPECT_FALSE(has_passed("conversation.item.added"));
  const std::string item(answer.at("output").at(0).at("id").as_string());
  client_->send({{"type", "conversation.item.retrieve"}, {"item_id", item}});
  EXPECT_EQ(error().at("code"), "item_retrieve_invalid_item_id");
  // The conversation is as empty as it was.
  client_->send({{"type", "response.create"}});
  const json::object nothing = error();
  EXPECT_EQ(nothing.at("code"), "nothing_to_answer");
  EXPECT_THAT(std::string(nothing.at("message").as_string()), HasSubstr("nothing to answer"));
}

TEST_F(RealtimeEvents, AnswersToOtherInputReferToItemsAndRunBesideEachOther) {
  say("france", "What is the capital of France?");
  say("other", "Hello");
  const json::object reference{{"type", "item_reference"}, {"id", "france"}};
  ask({{"input", {reference}}});
  ask({{"conversation", "none"}, {"input", {reference}}, {"metadata", {{"beside", "yes"}}}});
  const std::vector<json::object> answers{done(), done()};
  for (const json::object& answer : answers) {
    EXPECT_THAT(text_of(answer), HasSubstr("Paris"));
    // What is answered within the conversation stays in it.
    const std::string item(answer.at("output").at(0).at("id").as_string());
    client_->send({{"type", "conversation.item.delete"}, {"item_id", item}});
    const bool within = answer.at("metadata").is_null();
    EXPECT_EQ(within, !answer.at("conversation_id").is_null());
    const auto event = client_->next();
    ASSERT_TRUE(event);
    EXPECT_EQ(event->at("type"), within ? "conversation.item.deleted" : "error");
  }
  ask({{"input", {{{"type", "item_reference"}, {"id", "nobody"}}}}});
  const json::object unknown = error();
  EXPECT_EQ(unknown.at("code"), "item_not_found");
  EXPECT_EQ(unknown.at("param"), "response.input[0].id");
}

TEST_F(RealtimeEvents, WhatIsWrongHasANameAndRunsNothing) {
  say("there", "Hello");
  struct Case {
    std::string event;
    const char* code;
    const char* sentence;
  };
  const std::vector<Case> cases{
      {R"({"type":"input_audio_buffer.clear","x":1})", "unknown_parameter", "`x` is unknown"},
      {R"({"type":"conversation.item.delete","item_id":"there","x":1})", "unknown_parameter",
       "`x` is unknown"},
      {R"({"type":"response.create","x":1})", "unknown_parameter", "`x` is unknown"},
      {R"({"type":"response.create","response":{"bogus":1}})", "unknown_parameter",
       "`response.bogus` is unknown"},
      {R"({})", "missing_required_parameter", "`type` is missing"},
      {R"({"type":"no.such"})", "invalid_value", "'no.such' is unknown"},
      {R"({"type":"conversation.item.delete"})", "missing_required_parameter",
       "`item_id` is missing"},
      {R"({"type":"conversation.item.delete","item_id":"x"})", "item_delete_invalid_item_id",
       "no item 'x'"},
      {R"({"type":"response.cancel"})", "response_cancel_not_active", "no active response"},
      {R"({"type":"input_audio_buffer.commit"})", "input_audio_buffer_commit_empty", "0 ms"},
      {R"({"type":"input_audio_buffer.append","audio":"***"})", "invalid_value",
       "`audio` is no base64: byte 42"},
      {R"({"type":"response.create","response":{"max_output_tokens":"lots"}})", "invalid_value",
       "an integer or \"inf\""},
      {R"({"type":"response.create","response":{"tools":[{"type":"function"}]}})", "invalid_value",
       "`response.tools` cannot be set"},
      {R"({"type":"response.create","response":{"tool_choice":"required"}})", "invalid_value",
       "auto or none"},
      {R"({"type":"response.create","response":{"conversation":"mine"}})", "invalid_value",
       "auto or none"},
      {R"({"type":"response.create","response":{"metadata":{"a":1}}})", "invalid_value",
       "`response.metadata.a`"},
      {R"({"type":"session.update","session":{"type":"transcription"}})", "invalid_value",
       "must be realtime"},
      {R"({"type":"session.update","session":{"audio":{"input":{"turn_detection":)"
       R"({"type":"semantic_vad"}}}}})",
       "invalid_value", "must be server_vad"},
      {R"({"type":"session.update","session":{"audio":{"input":{"noise_reduction":)"
       R"({"type":"near_field"}}}}})",
       "invalid_value", "`session.audio.input.noise_reduction` cannot be set"},
      {R"({"type":"session.update","session":{"audio":{"input":{"turn_detection":)"
       R"({"type":"server_vad","idle_timeout_ms":5000}}}}})",
       "invalid_value", "idle_timeout_ms` cannot be set"},
      {R"({"type":"session.update","session":{"include":["item.x"]}})", "invalid_value",
       "`session.include` cannot be set"},
  };
  constexpr uint8_t kText = 0x81;
  for (const Case& wrong : cases) {
    client_->send_frame(kText, wrong.event);
    const json::object failure = error();
    EXPECT_EQ(failure.at("code"), wrong.code) << wrong.event;
    EXPECT_THAT(std::string(failure.at("message").as_string()), HasSubstr(wrong.sentence))
        << wrong.event;
  }
  json::object many;
  for (int i = 0; i < 17; ++i) many[std::to_string(i)] = "x";
  ask({{"metadata", many}});
  EXPECT_THAT(std::string(error().at("message").as_string()), HasSubstr("17 pairs; at most 16"));
  // Of all that nothing has been done.
  client_->send({{"type", "conversation.item.retrieve"}, {"item_id", "there"}});
  EXPECT_TRUE(client_->next("conversation.item.retrieved"));
  EXPECT_TRUE(client_->passed.empty());
}

TEST_F(RealtimeEvents, ItemsComeBackAsTheyWereGiven) {
  // One white pixel.
  const std::string picture =
      "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8"
      "/5+hHgAHggJ/PchI7wAAAABJRU5ErkJggg==";
  const auto create = [&](json::array content) {
    client_->send(
        {{"type", "conversation.item.create"},
         {"item", {{"type", "message"}, {"role", "user"}, {"content", std::move(content)}}}});
  };
  const json::object image{{"type", "input_image"}, {"image_url", picture}, {"detail", "low"}};
  create({image});
  auto event = client_->next("conversation.item.done");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->at("item").at("content"), json::value(json::array{image}));
  const json::object text{{"type", "input_text"}, {"text", "What was that?"}};
  create({text, {{"type", "input_audio"}, {"audio", base64(quiet(200))}}});
  event = client_->next("conversation.item.done");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->at("item").at("content").at(0), json::value(text));
  EXPECT_EQ(event->at("item").at("content").at(1).at("type"), "input_audio");
  // What the model could not be told is not taken in, and so spoils no answer.
  for (const char* broken : {"data:image/png;base64,AAAA", "data:image/png;base64,***",
                             "https://example.com/a.png", "file:///etc/passwd"}) {
    create({json::object{{"type", "input_image"}, {"image_url", broken}}});
    EXPECT_THAT(std::string(error().at("param").as_string()), HasSubstr("item.content")) << broken;
  }
  create({json::object{{"type", "input_audio"}, {"audio", base64(std::string(4, '\0'))}}});
  EXPECT_THAT(std::string(error().at("message").as_string()), HasSubstr("the sound has 1 samples"));
  create({json::object{{"type", "input_audio"},
                       {"input_audio", {{"data", "AAAA"}, {"format", "wav"}}}}});
  EXPECT_THAT(std::string(error().at("param").as_string()), HasSubstr("item.content"));
  client_->send({{"type", "response.create"}});
  EXPECT_EQ(done().at("status"), "completed");
}

TEST_F(RealtimeEvents, AnswersBeginEmptyAndEndWhole) {
  say("", "What is the capital of France?");
  client_->send({{"type", "response.create"}});
  const json::object answer = done();
  EXPECT_FALSE(answer.at("conversation_id").is_null());
  bool added = false, ended = false;
  for (const json::object& event : client_->passed) {
    const json::value& type = event.at("type");
    if (type == "conversation.item.added" || type == "response.output_item.added") {
      EXPECT_EQ(event.at("item").at("status"), "in_progress");
      EXPECT_EQ(event.at("item").at("content"), json::value(json::array()));
      added = true;
    }
    if (type == "conversation.item.done") {
      EXPECT_EQ(event.at("item"), answer.at("output").at(0));
      EXPECT_EQ(event.at("item").at("status"), "completed");
      ended = true;
    }
  }
  EXPECT_TRUE(added);
  EXPECT_TRUE(ended);
  const json::object& usage = answer.at("usage").as_object();
  EXPECT_GE(usage.at("input_token_details").at("cached_tokens").to_number<int64_t>(), 0);
  const json::value& details = usage.at("output_token_details");
  EXPECT_EQ(details.at("text_tokens").to_number<int64_t>() +
                details.at("audio_tokens").to_number<int64_t>(),
            usage.at("output_tokens").to_number<int64_t>());
}

TEST_F(RealtimeEvents, OnlyTheAnswerThatIsNamedIsCancelled) {
  update({{"output_modalities", {"audio"}}});
  say("", "Count from one to ten.");
  client_->send({{"type", "response.create"}});
  const auto added = client_->next("conversation.item.added");
  ASSERT_TRUE(added);
  client_->send({{"type", "response.cancel"}, {"response_id", "other"}});
  const auto refused = client_->next("error");
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->at("error").at("code"), "response_cancel_not_active");
  client_->send({{"type", "response.create"}});
  const auto second = client_->next("error");
  ASSERT_TRUE(second);
  EXPECT_EQ(second->at("error").at("code"), "conversation_already_has_active_response");
  // An answer whose item is deleted is still an answer.
  const std::string item(added->at("item").at("id").as_string());
  client_->send({{"type", "conversation.item.delete"}, {"item_id", item}});
  const json::object answer = done();
  EXPECT_EQ(answer.at("status"), "completed");
  EXPECT_EQ(answer.at("output").at(0).at("id"), json::value(item));
}

TEST_F(RealtimeEvents, SpeechIsAsFastAsItIsAskedFor) {
  const auto bytes_at = [&](double speed) {
    ask({{"conversation", "none"},
         {"output_modalities", {"audio"}},
         {"audio", {{"output", {{"speed", speed}}}}},
         {"input", {message("", "What is the capital of France?")}}});
    EXPECT_EQ(done().at("status"), "completed");
    size_t bytes = 0;
    for (const json::object& event : client_->passed) {
      if (event.at("type") == "response.output_audio.delta")
        bytes += event.at("delta").as_string().size();
    }
    return bytes;
  };
  const size_t slow = bytes_at(0.25);
  const size_t fast = bytes_at(1.5);
  EXPECT_GT(fast, 0u);
  EXPECT_GT(slow, 2 * fast);  // six times, but for how the voice takes its pauses
  const json::object session = update({{"audio", {{"output", {{"speed", 1.25}}}}}});
  EXPECT_EQ(session.at("audio").at("output").at("speed"), json::value(1.25));
}

}  // namespace
}  // namespace tutti::testing
