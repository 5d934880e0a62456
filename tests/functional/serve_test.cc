// `tutti serve` as clients see it: bytes over loopback sockets.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

extern char** environ;

namespace tutti {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// A running server on a free port; ended and reaped by the destructor.
class Server {
 public:
  explicit Server(std::vector<std::string> flags = {}) {
    std::vector<std::string> words{TUTTI_BINARY, "serve", "nano", "--port", "0", "--quiet"};
    words.insert(words.end(), flags.begin(), flags.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    int out[2];
    if (pipe2(out, O_CLOEXEC) != 0) return;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    posix_spawn(&pid_, TUTTI_BINARY, &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    std::string line;
    for (char c = 0; c != '\n' && read(out[0], &c, 1) == 1;) line.push_back(c);
    close(out[0]);
    const size_t colon = line.rfind(':');
    if (colon != std::string::npos) port_ = std::atoi(line.c_str() + colon + 1);
  }
  ~Server() {
    if (pid_ > 0) stop();
  }
  int port() const { return port_; }

  // Exit code after SIGTERM.
  int stop() {
    kill(pid_, SIGTERM);
    int status = 0;
    waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  int port_ = 0;
};

class Client {
 public:
  explicit Client(const Server& server) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(server.port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    const timeval limit{60, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  }
  ~Client() { close(fd_); }

  void send(const std::string& bytes) const {
    ASSERT_TRUE(connected_);
    ASSERT_EQ(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // Until the text has come, or the end.
  std::string read_until(const std::string& text) {
    while (text.empty() || seen_.find(text) == std::string::npos) {
      char buffer[4096];
      const ssize_t count = recv(fd_, buffer, sizeof(buffer), 0);
      if (count <= 0) break;
      seen_.append(buffer, static_cast<size_t>(count));
    }
    return seen_;
  }
  std::string read_all() { return read_until(""); }

 private:
  int fd_;
  bool connected_ = false;
  std::string seen_;
};

std::string request(const std::string& method, const std::string& target,
                    const std::string& body = "",
                    const std::string& headers = "Content-Type: application/json\r\n") {
  return method + " " + target + " HTTP/1.1\r\nHost: t\r\nConnection: close\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string ask(const Server& server, const std::string& bytes) {
  Client client(server);
  client.send(bytes);
  return client.read_all();
}

const std::string kChat = "/v1/chat/completions";

TEST(Serve, AnswersAChat) {
  const Server server;
  ASSERT_GT(server.port(), 0);
  const std::string answer =
      ask(server,
          request("POST", kChat,
                  R"({"messages":[{"role":"user","content":"What is the capital of France?"}]})"));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr(R"("content":"The capital of France is Paris.")"));
  EXPECT_THAT(answer, HasSubstr(R"("finish_reason":"stop")"));
  EXPECT_THAT(answer, HasSubstr(R"("prompt_tokens":18)"));
}

TEST(Serve, StreamsTextAndSpeechAndEndsWithUsage) {
  const Server server;
  const std::string answer = ask(
      server, request("POST", kChat,
                      R"({"messages":[{"role":"user","content":"Hello"}],"stream":true,)"
                      R"("modalities":["text","audio"],"audio":{"voice":"nora","format":"pcm16"},)"
                      R"("stream_options":{"include_usage":true},"return_stage_metrics":true})"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/event-stream"));
  const size_t role = answer.find(R"("delta":{"role":"assistant")");
  const size_t text = answer.find(R"("delta":{"content":)");
  const size_t audio = answer.find(R"("data":")");
  const size_t finish = answer.find(R"("finish_reason":"stop")");
  const size_t usage = answer.find(R"("usage":{)");
  const size_t done = answer.find("data: [DONE]");
  for (const size_t at : {role, text, audio, finish, usage, done})
    EXPECT_NE(at, std::string::npos) << answer;
  EXPECT_LT(role, text);
  EXPECT_LT(text, audio);
  EXPECT_LT(audio, finish);
  EXPECT_LT(finish, usage);
  EXPECT_LT(usage, done);
  EXPECT_THAT(answer, HasSubstr(R"("model_stage":"code2wav")"));
}

TEST(Serve, ReadsAloudInEveryFormat) {
  const Server server;
  const std::vector<std::pair<std::string, std::string>> formats{{"wav", "RIFF"},
                                                                 {"flac", "fLaC"},
                                                                 {"opus", "OggS"},
                                                                 {"mp3", "audio/mpeg"},
                                                                 {"pcm", "audio/pcm"}};
  for (const auto& [format, mark] : formats) {
    const std::string answer = ask(
        server, request("POST", "/v1/audio/speech",
                        R"({"input":"The boat is late.","response_format":")" + format + "\"}"));
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(answer, HasSubstr(mark));
    EXPECT_GT(answer.size(), 3000u) << format;
  }
}

TEST(Serve, OneErrorSchemaWithTheFieldsPath) {
  const Server server;
  struct Case {
    std::string bytes, status, part;
  };
  const std::string json = "Content-Type: application/json\r\n";
  const std::vector<Case> cases{
      {request("GET", "/nothing"), "404", "openapi.json"},
      {request("GET", "/assets/../../etc/passwd"), "404", "There is nothing"},
      {request("GET", "/%2e%2e/%2e%2e/etc/passwd"), "404", "There is nothing"},
      {request("GET", "/%zz"), "400", "percent-encoded"},
      {request("DELETE", kChat), "405", "it takes POST"},
      {request("POST", kChat, "{", json), "400", "no JSON"},
      {request("POST", kChat, "[]", json), "400", "an array"},
      {request("POST", kChat, "{}", "Content-Type: text/plain\r\n"), "400", "application/json"},
      {request("POST", kChat, "{}", json), "400", R"("param":"messages")"},
      {request("POST", kChat, R"({"messages":[{"role":"user","content":"Hi"}],"temprature":1})",
               json),
       "400", "did you mean `temperature`"},
      {request("POST", kChat, R"({"messages":[{"role":"user","content":"Hi"}],"temperature":9})",
               json),
       "400", R"("param":"temperature")"},
      {request("POST", kChat, R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})",
               json),
       "400", R"("param":"messages[0].content[0].text")"},
      {request("POST", kChat,
               R"({"messages":[{"role":"user","content":[{"type":"image_url",)"
               R"("image_url":{"url":"/etc/passwd"}}]}]})",
               json),
       "400", "must be a data:"},
      {request("POST", kChat, R"({"model":"gpt","messages":[{"role":"user","content":"Hi"}]})",
               json),
       "404", "'gpt' is not served here"},
      {request("POST", kChat,
               R"({"messages":[{"role":"user","content":"Hi"}],)"
               R"("modalities":["text","audio"],"audio":{"voice":"Zed"}})",
               json),
       "400", "hugo"},
      {request("POST", "/v1/audio/speech", R"({"input":""})", json), "400", R"("param":"input")"},
      {request("GET", "/v1/realtime"), "426", "WebSocket"},
      {"GET / HTTP/1.1\r\nHost: t\r\nX: " + std::string(40000, 'a') + "\r\n\r\n", "431", "headers"},
      {"NONSENSE\r\n\r\n", "400", "no HTTP/1.1 request"},
  };
  for (const Case& c : cases) {
    const std::string answer = ask(server, c.bytes);
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 " + c.status)) << c.bytes.substr(0, 200);
    EXPECT_THAT(answer, ::testing::AnyOf(HasSubstr(c.part), HasSubstr("Hugo")))
        << c.bytes.substr(0, 200);
    EXPECT_THAT(answer, HasSubstr(R"({"error":{"message":)"));
  }
  // Nothing of that has hurt it.
  EXPECT_THAT(ask(server, request("GET", "/health")), HasSubstr(R"("status":"ready")"));
}

TEST(Serve, KeysAreAskedForWhereTheyMatter) {
  const Server server({"--api-key", "secret"});
  EXPECT_THAT(ask(server, request("GET", "/v1/models")), StartsWith("HTTP/1.1 401"));
  EXPECT_THAT(ask(server, request("GET", "/v1/models", "", "Authorization: Bearer wrong\r\n")),
              StartsWith("HTTP/1.1 401"));
  EXPECT_THAT(ask(server, request("GET", "/v1/models", "", "Authorization: Bearer secret\r\n")),
              StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask(server, request("GET", "/health")), StartsWith("HTTP/1.1 200"));
}

TEST(Serve, KeepsConnectionsAndTakesPipelinedRequests) {
  const Server server;
  Client client(server);
  const std::string get = "GET /version HTTP/1.1\r\nHost: t\r\n\r\n";
  client.send(get + get + "GET /version HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
  const std::string answers = client.read_all();
  size_t count = 0;
  for (size_t at = 0; (at = answers.find("HTTP/1.1 200", at)) != std::string::npos; ++at) ++count;
  EXPECT_EQ(count, 3u);
}

TEST(Serve, AClientThatGoesAwayEndsItsRequest) {
  const Server server;
  {
    Client client(server);
    client.send(request("POST", kChat,
                        R"({"messages":[{"role":"user","content":"Hi"}],"stream":true,)"
                        R"("max_tokens":2000,"ignore_eos":true})"));
    EXPECT_THAT(client.read_until("\"content\":"), HasSubstr("200 OK"));
  }
  std::string metrics;
  for (int i = 0; i < 100; ++i) {
    metrics = ask(server, request("GET", "/metrics"));
    if (metrics.find(R"(finished_reason="abort")") != std::string::npos) break;
    usleep(50'000);
  }
  EXPECT_THAT(metrics, HasSubstr(R"(finished_reason="abort")"));
  EXPECT_THAT(metrics, HasSubstr("vllm:num_requests_running{model_name=\"nano\"} 0"));
}

TEST(Serve, EndsInOrderOnSigterm) {
  Server server;
  EXPECT_THAT(ask(server, request("GET", "/")), HasSubstr("<title>Tutti</title>"));
  EXPECT_EQ(server.stop(), 0);
}

}  // namespace
}  // namespace tutti
