// What no client should send, to the real binary: the answer is a clean 4xx or the end of the
// connection, a request that runs beside it is not touched, and no descriptor stays behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "socket_client.h"
#include "websocket_client.h"

namespace tutti::testing {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

const std::string kChat = "/v1/chat/completions";
const std::string kBystander =
    R"({"messages":[{"role":"user","content":"Hello"}],"stream":true,"temperature":0,)"
    R"("max_tokens":400,"ignore_eos":true})";
constexpr const char* kHead = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n";
constexpr const char* kJson = "Content-Type: application/json\r\n";

// What the choices of a streamed answer say, without its id and times.
std::string words(const std::string& answer) {
  constexpr std::string_view kMark = R"("delta":{"content":)";
  std::string out;
  for (size_t at = 0; (at = answer.find(kMark, at)) != std::string::npos; ++at) {
    const size_t begin = at + kMark.size();
    out += answer.substr(begin, answer.find('}', begin) - begin);
  }
  return out;
}

// One server for all tests; in each a bystander's request runs from beginning to end.
class ServeHostile : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = std::make_unique<ServerProcess>(std::vector<std::string>{
        "--header-timeout", "0.4", "--body-timeout", "0.4", "--keep-alive-timeout", "0.6",
        "--max-body-mb", "1", "--max-message-mb", "1", "--max-header-kb", "8"});
    expected_ = words(ask(*server_, http_request("POST", kChat, kBystander)));
    ASSERT_FALSE(expected_.empty());
    files_ = server_->open_files();
  }
  static void TearDownTestSuite() {
    EXPECT_TRUE(comes_back_to(*server_, files_)) << server_->open_files() << " of " << files_;
    EXPECT_EQ(server_->stop(), 0);
    server_.reset();
  }
  void SetUp() override {
    bystander_ = std::make_unique<SocketClient>(*server_);
    bystander_->send(http_request("POST", kChat, kBystander));
    ASSERT_THAT(bystander_->read_until("data: "), StartsWith("HTTP/1.1 200"));
  }
  void TearDown() override {
    const std::string& answer = bystander_->read_all();
    EXPECT_EQ(words(answer), expected_);
    EXPECT_THAT(answer, HasSubstr("data: [DONE]"));
    bystander_.reset();
    EXPECT_THAT(ask(*server_, http_request("GET", "/health")), HasSubstr(R"("status":"ready")"));
  }
  // The answer to bytes after which the client waits.
  static std::string send(const std::string& bytes) { return ask(*server_, bytes); }
  static std::string post(const std::string& body, const std::string& headers = kJson) {
    return send(http_request("POST", kChat, body, headers));
  }

  static inline std::unique_ptr<ServerProcess> server_;
  static inline std::string expected_;
  static inline int files_ = 0;
  std::unique_ptr<SocketClient> bystander_;
};

const auto kClosedOr4xx = AnyOf(IsEmpty(), StartsWith("HTTP/1.1 4"));

TEST_F(ServeHostile, WhoNeverFinishesIsCutOff) {
  EXPECT_THAT(send(""), IsEmpty());  // nothing at all
  EXPECT_THAT(send("G"), kClosedOr4xx);
  EXPECT_THAT(send("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "), kClosedOr4xx);
  EXPECT_THAT(send(std::string(kHead) + kJson + "Content-Length: 1000\r\n\r\n{\"mess"),
              kClosedOr4xx);
  EXPECT_THAT(send(std::string(kHead) + kJson + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"me"),
              kClosedOr4xx);
  // Many at once, held open: others still get in.
  std::vector<std::unique_ptr<SocketClient>> slow;
  for (int i = 0; i < 50; ++i) {
    slow.push_back(std::make_unique<SocketClient>(*server_));
    slow.back()->send("POST / HTTP/1.1\r\nHost:");
  }
  EXPECT_THAT(send(http_request("GET", "/version")), StartsWith("HTTP/1.1 200"));
  for (const auto& client : slow) EXPECT_THAT(client->read_all(), kClosedOr4xx);
}

TEST_F(ServeHostile, HalfClosedSocketsEnd) {
  {
    SocketClient client(*server_);
    client.half_close();
    EXPECT_THAT(client.read_all(), IsEmpty());
  }
  {
    SocketClient client(*server_);
    client.send("GET /version HTTP/1.1\r\nHo");
    client.half_close();
    EXPECT_THAT(client.read_all(), kClosedOr4xx);
  }
  {
    SocketClient client(*server_);
    client.send(std::string(kHead) + kJson + "Content-Length: 50\r\n\r\n{}");
    client.half_close();
    EXPECT_THAT(client.read_all(), kClosedOr4xx);
  }
  {  // Who says no more counts as gone: his request ends.
    SocketClient client(*server_);
    client.send(http_request("POST", kChat, kBystander));
    client.read_until("data: ");
    client.half_close();
    EXPECT_EQ(client.read_all().find("[DONE]"), std::string::npos);
  }
}

TEST_F(ServeHostile, LargeHeadsAndBodiesAreRefused) {
  const std::string many(9000, 'a');
  EXPECT_THAT(send("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + many + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(send("GET /" + many + " HTTP/1.1\r\nHost: localhost\r\n\r\n"),
              StartsWith("HTTP/1.1 431"));
  // Declared, sent, and in chunks.
  EXPECT_THAT(send(std::string(kHead) + kJson + "Content-Length: 99999999999\r\n\r\n"),
              StartsWith("HTTP/1.1 413"));
  const std::string large(1100 << 10, ' ');
  EXPECT_THAT(post(large), StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(send(std::string(kHead) + kJson + "Transfer-Encoding: chunked\r\n\r\n113000\r\n" +
                   large + "\r\n0\r\n\r\n"),
              StartsWith("HTTP/1.1 413"));
}

TEST_F(ServeHostile, WrongLengthsAreRefused) {
  const std::string chunked = std::string(kHead) + kJson + "Transfer-Encoding: chunked\r\n\r\n";
  for (const char* body : {"zz\r\n{}\r\n0\r\n\r\n", "-2\r\n{}\r\n0\r\n\r\n", "1\r\n{}\r\n0\r\n\r\n",
                           "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n", "\r\n{}\r\n0\r\n\r\n"}) {
    EXPECT_THAT(send(chunked + body), StartsWith("HTTP/1.1 4")) << body;
  }
  EXPECT_THAT(send(chunked + "40\r\n{}\r\n0\r\n\r\n"), kClosedOr4xx);  // ends too early
  for (const char* length :
       {"Content-Length: x\r\n\r\n", "Content-Length: -1\r\n\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"}) {
    EXPECT_THAT(send(std::string(kHead) + kJson + length), StartsWith("HTTP/1.1 4")) << length;
  }
}

TEST_F(ServeHostile, BrokenTextAndTypesAreRefused) {
  EXPECT_THAT(post("{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\xfe\"}]}"),
              StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(post("{\"messages\":[{\"role\":\"user\",\"content\":\"\xed\xa0\x80\"}]}"),
              StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(post(std::string("{\"messages\":\0}", 14)), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(post(std::string(100'000, '[')), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(post(R"({"messages":[{"role":"user","content":"Hi"}],"temperature":1e999})"),
              StartsWith("HTTP/1.1 400"));
  const std::string chat = R"({"messages":[{"role":"user","content":"Hi"}]})";
  for (const char* type : {"text/plain", "multipart/form-data", "application/jsonx", "\xff\xfe"}) {
    EXPECT_THAT(post(chat, std::string("Content-Type: ") + type + "\r\n"),
                StartsWith("HTTP/1.1 415"))
        << type;
  }
  EXPECT_THAT(post(chat, "Content-Type: \r\n"), StartsWith("HTTP/1.1 400"));
  for (const char* type : {"application/json", "multipart/form-data",
                           "multipart/form-data; boundary=", "multipart/form-data; boundary=x"}) {
    EXPECT_THAT(send(http_request("POST", "/v1/audio/transcriptions", chat,
                                  std::string("Content-Type: ") + type + "\r\n")),
                StartsWith("HTTP/1.1 400"))
        << type;
  }
}

TEST_F(ServeHostile, PathsDoNotLeaveTheirPlace) {
  const std::vector<std::string> parameters{"../../../../etc/passwd",
                                            "..%2f..%2f..%2fetc%2fpasswd",
                                            "%2e%2e/%2e%2e/etc/passwd",
                                            "..%5c..%5cwindows",
                                            "%00",
                                            "%0d%0aSet-Cookie:%20a=b",
                                            "....//....//etc/passwd",
                                            "%c0%ae%c0%ae/etc/passwd",
                                            "/etc/passwd",
                                            "%",
                                            "%2"};
  for (const char* place : {"/v1/models/", "/v1/responses/", "/assets/", "/", "/v1/"}) {
    for (const std::string& parameter : parameters) {
      const std::string answer = send(http_request("GET", place + parameter));
      EXPECT_THAT(answer, AnyOf(StartsWith("HTTP/1.1 404"), StartsWith("HTTP/1.1 400")))
          << place << parameter;
      EXPECT_EQ(answer.find("root:"), std::string::npos);
      EXPECT_EQ(header_of(answer, "Set-Cookie"), "");
    }
  }
  EXPECT_THAT(send(http_request("DELETE", "/v1/responses/..%2fx")), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(send(http_request("GET", "http://other.example/version")),
              StartsWith("HTTP/1.1 403"));
}

TEST_F(ServeHostile, AHeadHasOneHostAndATargetOfThisServer) {
  const auto head = [](const std::string& line, const std::string& headers) {
    return send(line + "\r\n" + headers + "Connection: close\r\n\r\n");
  };
  constexpr const char* kHost = "Host: localhost\r\n";
  EXPECT_THAT(head("GET /health HTTP/1.1", ""),
              AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("no header Host")));
  EXPECT_THAT(head("GET /health HTTP/1.1", "Host: localhost\r\nHost: localhost\r\n"),
              AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("two headers Host")));
  EXPECT_THAT(head("GET /health HTTP/1.0", ""), HasSubstr(" 200 OK"));
  EXPECT_THAT(head("GET http://localhost/health HTTP/1.1", kHost), StartsWith("HTTP/1.1 200"));
  // A name that leads here by a foreign page's doing, in either place.
  EXPECT_THAT(head("GET http://rebound.example/health HTTP/1.1", kHost),
              StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(head("GET ftp://localhost/health HTTP/1.1", kHost), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(head("OPTIONS * HTTP/1.1", kHost),
              AllOf(StartsWith("HTTP/1.1 204"), HasSubstr("\r\nAllow: GET, HEAD, POST")));
  EXPECT_THAT(head("GET /health HTTP/1.1", kHost), HasSubstr(" GMT\r\n")) << "the header Date";
  EXPECT_THAT(head("POST /tokenize HTTP/1.1",
                   "Host: localhost\r\nExpect: miracles\r\nContent-Length: 2\r\n"),
              StartsWith("HTTP/1.1 417"));
}

TEST_F(ServeHostile, PipelinedRequestsEndWithTheFirstWrongOne) {
  const std::string get = "GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const std::string answers = send(get + get + "NONSENSE\r\n\r\n" + get);
  size_t good = 0;
  for (size_t at = 0; (at = answers.find("HTTP/1.1 200", at)) != std::string::npos; ++at) ++good;
  EXPECT_EQ(good, 2u);
  EXPECT_THAT(answers, HasSubstr("HTTP/1.1 400"));
}

TEST_F(ServeHostile, WrongFramesCloseTheSocketWithTheRightCode) {
  constexpr uint8_t kFinal = 0x80, kReserved = 0x40, kText = 1, kBinary = 2, kClose = 8, kPing = 9;
  constexpr int kProtocolError = 1002, kUnknownData = 1003, kBadPayload = 1007, kTooBig = 1009;
  struct Case {
    const char* what;
    uint8_t first;
    std::string payload;
    int code;
    bool masked = true;
  };
  const std::vector<Case> cases{
      {"an unknown opcode", kFinal | 3, "{}", kProtocolError},
      {"a reserved bit", kFinal | kReserved | kText, "{}", kProtocolError},
      {"no mask", kFinal | kText, "{}", kProtocolError, false},
      {"broken UTF-8", kFinal | kText, "\"\xff\xfe\"", kBadPayload},
      {"a fragmented ping", kPing, "a", kProtocolError},
      {"a long ping", kFinal | kPing, std::string(126, 'a'), kProtocolError},
      {"a continuation of nothing", kFinal, "a", kProtocolError},
      {"a close code that is not sent", kFinal | kClose, "\x03\xed", kProtocolError},
      {"a close code out of range", kFinal | kClose, std::string("\0\1", 2), kProtocolError},
      {"half a close code", kFinal | kClose, "\x03", kProtocolError},
      {"binary data", kFinal | kBinary, "{}", kUnknownData},
      {"a large message", kFinal | kText, std::string((1 << 20) + 1, ' '), kTooBig},
  };
  for (const Case& wrong : cases) {
    WebSocketClient client(*server_);
    ASSERT_THAT(client.handshake(), StartsWith("HTTP/1.1 101")) << wrong.what;
    client.send_frame(wrong.first, wrong.payload, wrong.masked);
    EXPECT_EQ(client.close_code(), wrong.code) << wrong.what;
  }
}

TEST_F(ServeHostile, WrongEventsAreErrorsAndTheSessionGoesOn) {
  constexpr uint8_t kText = 0x81;
  WebSocketClient client(*server_);
  ASSERT_TRUE(client.next("session.created"));
  for (const char* message :
       {"", "{", "[]", "1", R"({"type":1})", R"({"type":"nothing"})",
        R"({"type":"session.update"})", R"({"type":"session.update","session":{"x":1}})",
        R"({"type":"input_audio_buffer.append","audio":"***"})",
        R"({"type":"input_audio_buffer.append","audio":"AAAA"})",
        R"({"type":"input_audio_buffer.commit"})",
        R"({"type":"conversation.item.create","item":{"type":"message","role":"user"}})",
        R"({"type":"conversation.item.delete","item_id":"none"})",
        R"({"type":"conversation.item.truncate","item_id":"none","audio_end_ms":-1})",
        R"({"type":"response.cancel"})"}) {
    client.send_frame(kText, message);
    const auto event = client.next();
    ASSERT_TRUE(event) << message;
    EXPECT_EQ(event->at("type"), "error") << message;
  }
  client.send({{"type", "input_audio_buffer.clear"}});
  EXPECT_TRUE(client.next("input_audio_buffer.cleared"));
}

TEST_F(ServeHostile, UpgradesThatAreNoneAreRefused) {
  EXPECT_THAT(send("GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Version: 8\r\n"
                   "Sec-WebSocket-Key: x\r\n\r\n"),
              kClosedOr4xx);
  EXPECT_THAT(WebSocketClient(*server_, "/v1/models").handshake(), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(WebSocketClient(*server_, "/v1/realtime?model=../x").handshake(),
              StartsWith("HTTP/1.1 404"));
}

}  // namespace
}  // namespace tutti::testing
