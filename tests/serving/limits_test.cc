// What a server that is full, late or going away says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "process.h"
#include "socket_client.h"
#include "websocket_client.h"

namespace tutti::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kChat = "/v1/chat/completions";

std::string chat(int max_tokens, bool stream, int n = 1) {
  return R"({"messages":[{"role":"user","content":"Hello"}],"ignore_eos":true,"max_tokens":)" +
         std::to_string(max_tokens) + R"(,"n":)" + std::to_string(n) + R"(,"stream":)" +
         (stream ? "true}" : "false}");
}

void expect_refusal(const std::string& answer, const std::string& status, const std::string& type) {
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 " + status));
  EXPECT_THAT(answer, HasSubstr("\"type\":\"" + type + "\""));
  EXPECT_GE(std::atoi(header_of(answer, "Retry-After").c_str()), 1) << answer;
}

TEST(ServeLimits, AFullServerSaysWhenToComeBack) {
  const ServerProcess server(
      {"--max-num-seqs", "1", "--max-live-requests", "1", "--request-queue-size", "1"});
  SocketClient first(server);
  first.send(http_request("POST", kChat, chat(1900, true)));
  ASSERT_THAT(first.read_until("\"content\":"), StartsWith("HTTP/1.1 200"));
  std::vector<std::unique_ptr<SocketClient>> others;
  for (int i = 0; i < 6; ++i) {
    others.push_back(std::make_unique<SocketClient>(server));
    others.back()->send(http_request("POST", kChat, chat(2, i % 2 == 1)));
  }
  int refused = 0;
  for (const auto& other : others) {
    const std::string& answer = other->read_all();
    if (answer.starts_with("HTTP/1.1 200")) continue;
    ++refused;
    expect_refusal(answer, "429", "rate_limit_error");
  }
  EXPECT_GE(refused, 4);  // one runs at a time, one waits
  EXPECT_THAT(first.read_all(), HasSubstr("data: [DONE]"));
  EXPECT_THAT(ask(server, http_request("POST", kChat, chat(2, false))), StartsWith("HTTP/1.1 200"));
}

TEST(ServeLimits, OneConnectionTooManyIsToldSo) {
  const ServerProcess server({"--max-connections", "2"});
  {
    SocketClient one(server);
    SocketClient two(server);
    for (SocketClient* client : {&one, &two}) {
      client->send("GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n");
      client->read_until("version");
    }
    SocketClient three(server);
    expect_refusal(three.read_all(), "503", "service_unavailable_error");
  }
  // Their places are free again.
  EXPECT_THAT(metrics_with(server, "vllm:"), StartsWith("HTTP/1.1 200"));
}

TEST(ServeLimits, ARequestThatTakesTooLongTimesOut) {
  const ServerProcess server({"--request-timeout", "0.15"});
  const std::string answer = ask(server, http_request("POST", kChat, chat(1900, false, 16)));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 504"));
  EXPECT_THAT(answer, HasSubstr(R"("type":"timeout_error")"));
  // A stream that has begun ends with an event.
  const std::string stream = ask(server, http_request("POST", kChat, chat(1900, true, 16)));
  EXPECT_THAT(stream, AnyOf(StartsWith("HTTP/1.1 504"), HasSubstr("event: error\n")));
  EXPECT_THAT(stream, HasSubstr("timeout_error"));
}

TEST(ServeLimits, AReaderThatReadsNothingIsCutOff) {
  const ServerProcess server({"--max-unread-mb", "1"});
  SocketClient client(server);
  // Much to read: the probabilities of twenty tokens for every one.
  client.send(http_request("POST", kChat,
                           R"({"messages":[{"role":"user","content":"Hello"}],"n":16,)"
                           R"("stream":true,"logprobs":true,"top_logprobs":20,)"
                           R"("ignore_eos":true,"max_tokens":1900})"));
  EXPECT_THAT(metrics_with(server, R"(finished_reason="abort")", 60),
              HasSubstr(R"(finished_reason="abort")"));
  EXPECT_EQ(client.read_all().find("[DONE]"), std::string::npos);
}

TEST(ServeShutdown, LiveStreamsFinishAndNewRequestsAreSentAway) {
  ServerProcess server({"--grace", "60"});
  SocketClient live(server);
  live.send(http_request("POST", kChat, chat(1500, true)));
  live.read_until("\"content\":");
  WebSocketClient realtime(server);
  ASSERT_TRUE(realtime.next("session.created"));
  server.signal(SIGTERM);
  // Until it has seen the signal it takes requests as before.
  std::string answer;
  do {
    answer = ask(server, http_request("POST", kChat, chat(1, false)));
  } while (answer.starts_with("HTTP/1.1 200"));
  expect_refusal(answer, "503", "service_unavailable_error");
  EXPECT_THAT(live.read_all(), HasSubstr("data: [DONE]"));
  constexpr int kGoingAway = 1001;
  EXPECT_EQ(realtime.close_code(), kGoingAway);
  EXPECT_EQ(server.wait(), 0);
}

TEST(ServeShutdown, WhatIsNotDoneInTimeFails) {
  ServerProcess server({"--grace", "0.2"});
  SocketClient stream(server);
  SocketClient whole(server);
  stream.send(http_request("POST", kChat, chat(1900, true, 16)));
  stream.read_until("\"content\":\"");
  whole.send(http_request("POST", kChat, chat(1900, false, 16)));
  EXPECT_THAT(metrics_with(server, "num_requests_running{model_name=\"nano\"} 32"),
              HasSubstr("} 32"));
  // Read while the server ends: what it cannot write in time it drops.
  auto events = std::async(std::launch::async, [&] { return stream.read_all(); });
  EXPECT_EQ(server.stop(), 0);
  const std::string rest = events.get();
  EXPECT_TRUE(rest.find("event: error\n") != std::string::npos) << rest.size() << " bytes";
  EXPECT_TRUE(rest.find("[DONE]") == std::string::npos);
  EXPECT_THAT(whole.read_all(), StartsWith("HTTP/1.1 503"));
}

TEST(ServeLimits, WrongNumbersOfFlagsAreOneSentence) {
  const std::vector<std::vector<std::string>> cases{
      {"--port", "abc", "an integer from 0 to 65535"},
      {"--port", "70000", "an integer from 0 to 65535"},
      {"--http-threads", "0", "an integer from 1 to 64"},
      {"--max-body-mb", "1.5", "an integer from 1 to 4096"},
      {"--grace", "-1", "a number from 0 to 3600"},
      {"--header-timeout", "soon", "a number from 0.1 to 3600"}};
  for (const auto& flag : cases) {
    const ProcessResult wrong = run_process({TUTTI_BINARY, "serve", "nano", flag[0], flag[1]});
    EXPECT_EQ(wrong.exit_code, 2) << flag[0];
    EXPECT_EQ(wrong.err, "error: " + flag[0] + ": '" + flag[1] + "' is not allowed; allowed is " +
                             flag[2] + "\n");
  }
}

}  // namespace
}  // namespace tutti::testing
