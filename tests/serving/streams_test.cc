// Resumable streams of the real binary: a connection is lost, and another goes on with
// Last-Event-ID.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>
#include <vector>

#include "socket_client.h"

namespace tutti::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kJson = "Content-Type: application/json\r\n";
const std::string kResumable =
    R"({"messages":[{"role":"user","content":"Hello"}],"stream":true,"temperature":0,)"
    R"("max_tokens":200,"ignore_eos":true,"stream_options":{"resumable":true}})";

struct Event {
  std::string id;
  std::string data;
  bool operator==(const Event&) const = default;
};

// Events of a chunked answer, as far as they are whole.
std::vector<Event> events_of(const std::string& answer) {
  std::string body;
  for (size_t at = answer.find("\r\n\r\n") + 4; at < answer.size();) {
    const size_t line = answer.find("\r\n", at);
    if (line == std::string::npos) break;
    const size_t size = std::stoul(answer.substr(at, line - at), nullptr, 16);
    body += answer.substr(line + 2, size);
    at = line + 2 + size + 2;
  }
  std::vector<Event> out;
  for (size_t at = 0, end = 0; (end = body.find("\n\n", at)) != std::string::npos; at = end + 2) {
    const std::string block = body.substr(at, end - at);
    const size_t data = block.find("data: ");
    EXPECT_THAT(block, StartsWith("id: "));
    out.push_back({block.substr(4, block.find('\n') - 4), block.substr(data + 6)});
  }
  return out;
}

std::string resume(const std::string& id, const std::string& more = "") {
  return http_request("GET", "/v1/streams", "", "Last-Event-ID: " + id + "\r\n" + more);
}

std::string text_of(const std::vector<Event>& events) {
  std::string text;
  for (const Event& event : events) {
    if (event.data == "[DONE]") continue;
    const auto value = boost::json::parse(event.data);
    const auto& delta = value.at("choices").at(0).at("delta").as_object();
    if (const auto* content = delta.if_contains("content")) text += content->as_string();
  }
  return text;
}

TEST(ServeStreams, ALostConnectionGoesOnWithoutGapOrDuplicate) {
  const ServerProcess server;
  const auto whole =
      events_of(ask(server, http_request("POST", "/v1/chat/completions", kResumable)));
  ASSERT_GT(whole.size(), 20u);
  std::vector<Event> seen;
  {
    SocketClient client(server);
    client.send(http_request("POST", "/v1/chat/completions", kResumable));
    seen = events_of(client.read_until(":5\n"));
    client.reset();
  }
  ASSERT_GE(seen.size(), 4u);
  ASSERT_LT(seen.size(), whole.size());
  const std::string answer = ask(server, resume(seen.back().id));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  const std::vector<Event> rest = events_of(answer);
  seen.insert(seen.end(), rest.begin(), rest.end());
  EXPECT_EQ(text_of(seen), text_of(whole));
  EXPECT_EQ(seen.size(), whole.size());
  for (size_t i = 0; i < seen.size(); ++i)
    EXPECT_THAT(seen[i].id, ::testing::EndsWith(":" + std::to_string(i + 1)));
  EXPECT_EQ(seen.back().data, "[DONE]");
  // After its end it can be read again, by POST too, as browsers' clients send it.
  const std::string again =
      ask(server, http_request("POST", "/v1/chat/completions", kResumable,
                               kJson + ("Last-Event-ID: " + seen[2].id) + "\r\n"));
  EXPECT_EQ(events_of(again), std::vector<Event>(seen.begin() + 3, seen.end()));
}

TEST(ServeStreams, WhoIsAwayTooLongEndsTheRequest) {
  const ServerProcess server({"--stream-grace", "0.2"});
  std::string id;
  {
    SocketClient client(server);
    std::string body = kResumable;
    body.replace(body.find("200"), 3, "1500");
    client.send(http_request("POST", "/v1/chat/completions", body));
    id = events_of(client.read_until(":3\n")).front().id;
    client.reset();
  }
  EXPECT_THAT(metrics_with(server, R"(finished_reason="abort")"),
              HasSubstr(R"(finished_reason="abort")"));
  EXPECT_THAT(ask(server, resume(id)), StartsWith("HTTP/1.1 404"));
}

TEST(ServeStreams, OnlyTheKeyThatBeganAStreamReadsIt) {
  const ServerProcess server({"--api-key", "mine", "--api-key", "yours"});
  const std::string mine = "Authorization: Bearer mine\r\n";
  const std::string yours = "Authorization: Bearer yours\r\n";
  const auto events = events_of(
      ask(server, http_request("POST", "/v1/chat/completions", kResumable, kJson + mine)));
  ASSERT_FALSE(events.empty());
  const std::string id = events.front().id;
  EXPECT_THAT(ask(server, resume(id)), StartsWith("HTTP/1.1 401"));
  EXPECT_THAT(ask(server, resume(id, yours)), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(ask(server, resume(id, mine)), StartsWith("HTTP/1.1 200"));
}

TEST(ServeStreams, WrongIdsAreRefused) {
  const ServerProcess server;
  const std::string unknown = ask(server, resume("chatcmpl-0:1"));
  EXPECT_THAT(unknown, StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(unknown, HasSubstr(R"("param":"Last-Event-ID")"));
  EXPECT_THAT(ask(server, resume("nonsense")), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(ask(server, http_request("GET", "/v1/streams")), StartsWith("HTTP/1.1 400"));
}

}  // namespace
}  // namespace tutti::testing
