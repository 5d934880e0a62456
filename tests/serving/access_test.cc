// Pages in a browser against the real binary: what those of other origins cannot do to a server
// that asks for no key.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "socket_client.h"
#include "websocket_client.h"

namespace tutti::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kJson = "Content-Type: application/json\r\n";
const std::string kChat =
    R"({"messages":[{"role":"user","content":"Hello"}],"max_tokens":1,"temperature":0})";
constexpr const char* kErrorSchema = R"({"error":{"message":")";

std::string upgrade(const std::string& headers) {
  return "GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
         "Connection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
         headers + "\r\n";
}

TEST(ServePages, OfOtherOriginsStartNothing) {
  const ServerProcess server;
  const std::string foreign = "Origin: http://evil.example\r\n";
  for (const char* path : {"/v1/chat/completions", "/v1/omni/sleep", "/v1/audio/transcriptions"}) {
    const std::string answer = ask(server, http_request("POST", path, kChat, kJson + foreign));
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 403")) << path;
    EXPECT_THAT(answer, HasSubstr(kErrorSchema)) << path;
  }
  EXPECT_THAT(ask(server, http_request("DELETE", "/v1/responses/x", "", foreign)),
              StartsWith("HTTP/1.1 403"));
  const std::string socket = ask(server, upgrade(foreign));
  EXPECT_THAT(socket, StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(socket, HasSubstr(kErrorSchema));
  // Nobody sleeps; the server's own page and other clients get in.
  EXPECT_THAT(ask(server, http_request("POST", "/v1/chat/completions", kChat,
                                       kJson + "Origin: http://localhost\r\n")),
              StartsWith("HTTP/1.1 200"));
  WebSocketClient own(server, "/v1/realtime", "Origin: http://localhost\r\n");
  EXPECT_TRUE(own.next("session.created"));
}

TEST(ServePages, CannotGiveTheServerANameOfTheirOwn) {
  const ServerProcess server;
  const std::string rebound =
      "GET /v1/models HTTP/1.1\r\nHost: evil.example:8091\r\n"
      "Connection: close\r\n\r\n";
  EXPECT_THAT(ask(server, rebound), StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(ask(server, rebound), HasSubstr("for the host 'evil.example:8091'"));
  const ServerProcess behind_proxy({"--cors-origin", "https://evil.example:8091"});
  EXPECT_THAT(ask(behind_proxy, rebound), StartsWith("HTTP/1.1 200"));
}

TEST(ServePages, CannotSendJsonAsAForm) {
  const ServerProcess server;
  for (const char* path : {"/v1/chat/completions", "/v1/omni/sleep", "/start_profile"}) {
    const std::string answer =
        ask(server, http_request("POST", path, "{}", "Content-Type: text/plain\r\n"));
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 415")) << path;
    EXPECT_THAT(answer, HasSubstr("it must be application/json")) << path;
  }
}

TEST(ServePages, FailedHandshakesAreErrorsAsAnyOther) {
  const ServerProcess server;
  const auto failed = [&](const std::string& from, const std::string& to) {
    std::string request = upgrade("");
    return ask(server, request.replace(request.find(from), from.size(), to));
  };
  const std::string version = failed("Version: 13", "Version: 8");
  EXPECT_THAT(version, StartsWith("HTTP/1.1 426"));
  EXPECT_EQ(header_of(version, "Sec-WebSocket-Version"), "13");
  for (const std::string& answer :
       {version, failed("dGhlIHNhbXBsZSBub25jZQ==", "x"),
        failed("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")}) {
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 4"));
    EXPECT_THAT(answer, HasSubstr(kErrorSchema));
    EXPECT_EQ(header_of(answer, "Server"), "");
  }
  WebSocketClient other(server, "/v1/realtime", "Sec-WebSocket-Protocol: xrealtimey\r\n");
  EXPECT_EQ(header_of(other.handshake(), "Sec-WebSocket-Protocol"), "");
  WebSocketClient browser(server, "/v1/realtime", "Sec-WebSocket-Protocol: a, realtime\r\n");
  EXPECT_EQ(header_of(browser.handshake(), "Sec-WebSocket-Protocol"), "realtime");
}

TEST(ServePages, AMessageThatIsMuchTooLargeIsRefusedByName) {
  constexpr uint8_t kText = 0x81;
  constexpr int kTooBig = 1009;
  const ServerProcess server({"--max-message-mb", "1"});
  WebSocketClient client(server);
  ASSERT_TRUE(client.next("session.created"));
  // Far more than sockets hold: it must be read to its end, or the reason is lost.
  EXPECT_TRUE(client.send_frame(kText, std::string(24 << 20, ' ')));
  EXPECT_EQ(client.close_code(), kTooBig);
}

}  // namespace
}  // namespace tutti::testing
