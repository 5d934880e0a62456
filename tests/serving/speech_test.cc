// Speech bodies that end before their time, to the real binary: nobody may take one for whole, and
// nothing is computed for who does not hear it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <string>
#include <vector>

#include "process.h"
#include "socket_client.h"

namespace tutti::testing {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kLastChunk = "\r\n0\r\n\r\n";
constexpr const char* kRunning = "vllm:num_requests_running{model_name=\"nano\"} ";

// A talker that never falls silent: hours of speech, more than any test waits for.
std::vector<std::string> endless(std::vector<std::string> flags = {}) {
  for (const char* value : {"ignore_eos=true", "max_tokens=100000"}) {
    flags.emplace_back("--stage-overrides");
    flags.push_back(std::string("1.default_sampling_params.") + value);
  }
  return flags;
}

std::string speech(const std::string& more = "") {
  return http_request("POST", "/v1/audio/speech",
                      R"({"input":"Hello","response_format":"pcm","seed":1)" + more + "}");
}

TEST(ServeSpeech, AnAliasIsAVoice) {
  const ServerProcess server({"--voice-alias", "alloy=nora", "--voice-alias", "echo=Hugo"});
  const auto speak = [&](const std::string& voice) {
    return ask(server, http_request("POST", "/v1/chat/completions",
                                    R"({"messages":[{"role":"user","content":"Hello"}],"seed":1,)"
                                    R"("temperature":0,"modalities":["text","audio"],)"
                                    R"("audio":{"format":"pcm16","voice":")" +
                                        voice + "\"}}",
                                    "Content-Type: application/json\r\n"));
  };
  const auto sound = [&](const std::string& voice) {
    const std::string answer = speak(voice);
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200")) << voice;
    const size_t at = answer.find(R"("data":")");
    return answer.substr(at, answer.find('"', at + 8) - at);
  };
  EXPECT_GT(sound("alloy").size(), 10000U);
  EXPECT_EQ(sound("Alloy"), sound("Nora"));
  EXPECT_NE(sound("alloy"), sound("echo"));
  EXPECT_THAT(speak("shimmer"), HasSubstr("this model has: Hugo, Nora."));
  const auto wrong = [](const std::string& alias) {
    return run_process(
        {TUTTI_BINARY, "serve", "nano", "--port", "0", "--quiet", "--voice-alias", alias});
  };
  EXPECT_THAT(wrong("alloy=zed").err, HasSubstr("'alloy=zed'; this model has: Hugo, Nora."));
  EXPECT_THAT(wrong("hugo=Nora").err, HasSubstr("there is a voice 'hugo' already."));
  EXPECT_THAT(wrong("alloy").err, HasSubstr("must be ALIAS=VOICE"));
  EXPECT_EQ(wrong("alloy").exit_code, 2);
}

TEST(ServeSpeech, AWholeBodyHasItsEnd) {
  const ServerProcess server;
  EXPECT_THAT(ask(server, speech()), EndsWith(kLastChunk));
}

TEST(ServeSpeech, ABodyThatFailsLacksItsEnd) {
  ServerProcess server(endless({"--grace", "0.1"}));
  SocketClient client(server);
  client.send(speech());
  ASSERT_THAT(client.read_until("\r\n\r\n"), HasSubstr("Transfer-Encoding: chunked"));
  server.signal(SIGTERM);  // which fails what is not done within the grace
  const std::string& answer = client.read_all();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(answer, Not(EndsWith(kLastChunk)));
  EXPECT_EQ(server.wait(), 0);
}

TEST(ServeSpeech, WhoReadsTooSlowlyIsCutOffAndNothingIsComputedForHim) {
  const ServerProcess server(endless({"--max-unread-mb", "1"}));
  SocketClient client(server);
  // Slow speech, so that its bytes come faster than they are made up.
  client.send(speech(R"(,"speed":0.25)"));
  ASSERT_THAT(client.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(metrics_with(server, kRunning + std::string("1\n")), HasSubstr(kRunning));
  const std::string idle = kRunning + std::string("0\n");
  EXPECT_THAT(metrics_with(server, idle, 60), HasSubstr(idle));
  EXPECT_THAT(client.read_all(), Not(EndsWith(kLastChunk)));
}

}  // namespace
}  // namespace tutti::testing
