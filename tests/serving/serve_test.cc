// What every client of `tutti serve` meets: answers, errors, keys, connections.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "socket_client.h"

namespace tutti::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const std::string kChat = "/v1/chat/completions";

TEST(Serve, AnswersAChat) {
  const ServerProcess server;
  ASSERT_GT(server.port(), 0);
  const std::string answer = ask(
      server,
      http_request("POST", kChat,
                   R"({"messages":[{"role":"user","content":"What is the capital of France?"}]})"));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr(R"("content":"The capital of France is Paris.")"));
  EXPECT_THAT(answer, HasSubstr(R"("finish_reason":"stop")"));
  EXPECT_THAT(answer, HasSubstr(R"("prompt_tokens":18)"));
}

TEST(Serve, StreamsTextAndSpeechAndEndsWithUsage) {
  const ServerProcess server;
  const std::string answer =
      ask(server,
          http_request("POST", kChat,
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

// How often `what` is in `text`.
size_t count(const std::string& text, const std::string& what) {
  size_t times = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++times;
  return times;
}

TEST(Serve, TellsOfTheStagesWhileTheyWork) {
  const ServerProcess server;
  const auto asked_with = [&](const std::string& value) {
    return ask(
        server,
        http_request(
            "POST", kChat,
            R"({"messages":[{"role":"user","content":"Count from one to ten."}],"stream":true,)"
            R"("modalities":["text","audio"],"audio":{"format":"pcm16"},)"
            R"("return_stage_metrics":)" +
                value + "}"));
  };
  const std::string metrics = R"("choices":[],"stage_metrics":{)";
  EXPECT_EQ(count(asked_with("false"), metrics), 0u);
  EXPECT_EQ(count(asked_with("true"), metrics), 1u);
  const std::string live = asked_with("\"live\"");
  // Of the thinker, of the talker when it has ended, of the vocoder while it speaks; all at the
  // end.
  EXPECT_GE(count(live, metrics), 4u) << live;
  const std::string first = live.substr(live.find(metrics));
  EXPECT_THAT(first.substr(0, first.find('\n')), HasSubstr(R"("model_stage":"thinker")"));
  EXPECT_LT(live.find(R"("model_stage":"code2wav")"), live.rfind(R"("data":")"));
  const std::string wrong = asked_with("\"always\"");
  EXPECT_THAT(wrong,
              HasSubstr("`return_stage_metrics` is 'always'; it must be true, false or 'live'."));
  EXPECT_THAT(asked_with("1"), HasSubstr("`return_stage_metrics` is"));
}

TEST(Serve, ReadsAloudInEveryFormat) {
  const ServerProcess server;
  const std::vector<std::pair<std::string, std::string>> formats{
      {"wav", "RIFF"},       {"flac", "fLaC"},     {"opus", "OggS"},
      {"mp3", "audio/mpeg"}, {"aac", "audio/aac"}, {"pcm", "audio/pcm"}};
  for (const auto& [format, mark] : formats) {
    const std::string answer =
        ask(server,
            http_request("POST", "/v1/audio/speech",
                         R"({"input":"The boat is late.","response_format":")" + format + "\"}"));
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(answer, HasSubstr(mark));
    EXPECT_GT(answer.size(), 3000u) << format;
  }
}

TEST(Serve, OneErrorSchemaWithTheFieldsPath) {
  const ServerProcess server({"--max-model-len", "256"});
  struct Case {
    std::string bytes, status, part;
  };
  const std::string json = "Content-Type: application/json\r\n";
  const std::string picture =
      R"({"type":"image_url","image_url":{"url":"data:image/bmp;base64,)"
      "Qk06AAAAAAAAADYAAAAoAAAAAQAAAAEAAAABABgAAAAAAAQAAAATCwAAEwsAAAAAAAAAAAAA/wAAAA=="
      R"("}})";
  const std::string broken =
      R"({"type":"image_url","image_url":{"url":"data:image/png;base64,bm8gcGljdHVyZQ=="}})";
  const std::vector<Case> cases{
      {http_request("GET", "/nothing"), "404", "openapi.json"},
      {http_request("GET", "/assets/../../etc/passwd"), "404", "There is nothing"},
      {http_request("GET", "/%2e%2e/%2e%2e/etc/passwd"), "404", "There is nothing"},
      {http_request("GET", "/%zz"), "400", "percent-encoded"},
      {http_request("DELETE", kChat), "405", "it takes POST"},
      {http_request("POST", kChat, "{", json), "400", R"("param":null,"code":null)"},
      {http_request("POST", kChat, "[]", json), "400", "an array"},
      {http_request("POST", kChat, "{}", "Content-Type: text/plain\r\n"), "415",
       "application/json"},
      {http_request("POST", kChat, "{}", json), "400",
       R"("param":"messages","code":"missing_required_parameter")"},
      {http_request("POST", kChat,
                    R"({"messages":[{"role":"user","content":"Hi"}],"temprature":1})", json),
       "400",
       R"(did you mean `temperature`?","type":"invalid_request_error","param":"temprature",)"
       R"("code":"unknown_parameter")"},
      {http_request("POST", kChat,
                    R"({"messages":[{"role":"user","content":"Hi"}],"temperature":9})", json),
       "400", R"("param":"temperature")"},
      {http_request("POST", kChat, R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})",
                    json),
       "400", R"("param":"messages[0].content[0].text")"},
      {http_request("POST", kChat,
                    R"({"messages":[{"role":"user","content":[{"type":"image_url",)"
                    R"("image_url":{"url":"/etc/passwd"}}]}]})",
                    json),
       "400", "must be a data:"},
      {http_request("POST", kChat, R"({"model":"gpt","messages":[{"role":"user","content":"Hi"}]})",
                    json),
       "404",
       R"(is not served here; there is: nano.","type":"not_found_error","param":"model",)"
       R"("code":"model_not_found")"},
      {http_request("POST", kChat,
                    R"({"messages":[{"role":"user","content":"Hi"}],)"
                    R"("modalities":["text","audio"],"audio":{"voice":"Zed"}})",
                    json),
       "400", "this model has: Hugo, Nora."},
      {http_request("POST", "/v1/audio/speech", R"({"input":""})", json), "400",
       "`input` is empty; it must be"},
      // Of two pictures the second is none; the path is that of the request, not of the prompt.
      {http_request(
           "POST", kChat,
           R"({"messages":[{"role":"system","content":"See."},{"role":"user","content":[)" +
               picture + "," + broken + "]}]}",
           json),
       "400", R"("param":"messages[1].content[1]","code":"invalid_value")"},
      {http_request("POST", "/v1/responses",
                    R"({"instructions":"See.","input":[{"role":"user","content":[)" + picture +
                        "," + broken + "]}]}",
                    json),
       "400", R"("param":"input[0].content[1]","code":"invalid_value")"},
      {http_request("POST", "/v1/responses", R"({"input":[{"role":"nobody"}]})", json), "400",
       R"("param":"input[0].role")"},
      {http_request("POST", "/v1/responses", R"({"input":[]})", json), "400",
       "must be a string or an array with at least one message"},
      {http_request(
           "POST", kChat,
           R"({"messages":[{"role":"user","content":")" + std::string(3000, 'x') + R"("}]})", json),
       "400", R"("param":"messages","code":"context_length_exceeded")"},
      {http_request("GET", "/v1/realtime"), "426", "WebSocket"},
      {"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(40000, 'a') + "\r\n\r\n", "431",
       "headers"},
      {"NONSENSE\r\n\r\n", "400", "no HTTP/1.1 request"},
  };
  for (const Case& c : cases) {
    const std::string answer = ask(server, c.bytes);
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 " + c.status)) << c.bytes.substr(0, 200);
    EXPECT_THAT(answer, HasSubstr(c.part)) << c.bytes.substr(0, 200);
    EXPECT_THAT(answer, HasSubstr(R"({"error":{"message":)"));
  }
  // Nothing of that has hurt it.
  EXPECT_THAT(ask(server, http_request("GET", "/health")), HasSubstr(R"("status":"ready")"));
}

// vLLM's names, which dashboards have, and what each stage and replica did.
TEST(Serve, MetricsTellOfRequestsStagesAndQueues) {
  const ServerProcess server;
  const std::string json = "Content-Type: application/json\r\n";
  ASSERT_THAT(ask(server, http_request("POST", kChat,
                                       R"({"messages":[{"role":"user","content":"Hello"}],)"
                                       R"("temperature":0,"modalities":["text","audio"]})",
                                       json)),
              StartsWith("HTTP/1.1 200"));
  const std::string text = ask(server, http_request("GET", "/metrics"));
  for (const char* name :
       {"vllm:time_to_first_token_seconds", "vllm:request_time_per_output_token_seconds",
        "vllm:time_per_output_token_seconds", "vllm:e2e_request_latency_seconds",
        "vllm:request_queue_time_seconds", "vllm:request_prompt_tokens",
        "vllm:request_generation_tokens", "tutti:time_to_first_audio_seconds",
        "tutti:real_time_factor"}) {
    EXPECT_THAT(text, HasSubstr(std::string(name) + "_count{model_name=\"nano\"} 1\n"));
  }
  EXPECT_THAT(text, HasSubstr("vllm:inter_token_latency_seconds_count"));
  constexpr const char* kThinker = R"(model_stage="thinker",replica="0",stage="0")";
  constexpr const char* kVocoder = R"(model_stage="code2wav",replica="0",stage="2")";
  const auto of = [](const char* name, const char* stage) {
    return std::string(name) + "{model_name=\"nano\"," + stage + "}";
  };
  for (const char* stage : {kThinker, R"(model_stage="talker",replica="0",stage="1")", kVocoder}) {
    for (const char* name :
         {"tutti:stage_queue_seconds_count", "tutti:stage_compute_seconds_count",
          "tutti:stage_transfer_seconds_count", "tutti:stage_time_to_first_output_seconds_count"}) {
      EXPECT_THAT(text, HasSubstr(of(name, stage) + " 1\n"));
    }
  }
  EXPECT_THAT(text, HasSubstr(of("tutti:stage_real_time_factor_count", kVocoder) + " 1\n"));
  EXPECT_THAT(text,
              HasSubstr(of("tutti:stage_time_to_first_audio_seconds_count", kVocoder) + " 1"));
  EXPECT_THAT(text, HasSubstr(of("tutti:stage_underrun_seconds_total", kVocoder)));
  EXPECT_THAT(text, Not(HasSubstr(of("tutti:stage_real_time_factor_count", kThinker))));
  EXPECT_THAT(text, HasSubstr("vllm:prefix_cache_queries_total{model_name=\"nano\""));
  EXPECT_THAT(text, HasSubstr("vllm:kv_cache_usage_perc{model_name=\"nano\""));
  EXPECT_THAT(text, HasSubstr(R"(tutti:queue_high_water{queue="request_queue"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(tutti:queue_capacity{queue="output_queue"})"));
}

// Issue 4: it said ready while everything slept.
TEST(Serve, HealthTellsOfSleepingStages) {
  const ServerProcess server;
  const std::string json = "Content-Type: application/json\r\n";
  EXPECT_THAT(ask(server, http_request("POST", "/v1/omni/sleep", R"({"level":1})", json)),
              StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask(server, http_request("GET", "/health")),
              HasSubstr(R"({"status":"sleeping","stages":[{"stage_id":0)"));
  EXPECT_THAT(ask(server, http_request("POST", "/v1/omni/wakeup", "{}", json)),
              StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask(server, http_request("GET", "/health")), HasSubstr(R"({"status":"ready")"));
}

TEST(Serve, KeysAreAskedForWhereTheyMatter) {
  const ServerProcess server({"--api-key", "secret"});
  EXPECT_THAT(ask(server, http_request("GET", "/v1/models")), StartsWith("HTTP/1.1 401"));
  EXPECT_THAT(ask(server, http_request("GET", "/v1/models", "", "Authorization: Bearer wrong\r\n")),
              StartsWith("HTTP/1.1 401"));
  EXPECT_THAT(
      ask(server, http_request("GET", "/v1/models", "", "Authorization: Bearer secret\r\n")),
      StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask(server, http_request("GET", "/health")), StartsWith("HTTP/1.1 200"));
}

TEST(Serve, KeepsConnectionsAndTakesPipelinedRequests) {
  const ServerProcess server;
  SocketClient client(server);
  const std::string get = "GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n";
  client.send(get + get + "GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  const std::string answers = client.read_all();
  size_t count = 0;
  for (size_t at = 0; (at = answers.find("HTTP/1.1 200", at)) != std::string::npos; ++at) ++count;
  EXPECT_EQ(count, 3u);
}

TEST(Serve, AClientThatGoesAwayEndsItsRequest) {
  const ServerProcess server;
  {
    SocketClient client(server);
    client.send(http_request("POST", kChat,
                             R"({"messages":[{"role":"user","content":"Hi"}],"stream":true,)"
                             R"("max_tokens":2000,"ignore_eos":true})"));
    EXPECT_THAT(client.read_until("\"content\":"), HasSubstr("200 OK"));
  }
  const std::string metrics = metrics_with(server, R"(finished_reason="abort")");
  EXPECT_THAT(metrics, HasSubstr(R"(finished_reason="abort")"));
  EXPECT_THAT(metrics, HasSubstr("vllm:num_requests_running{model_name=\"nano\"} 0"));
}

TEST(Serve, EndsInOrderOnSigterm) {
  ServerProcess server;
  EXPECT_THAT(ask(server, http_request("GET", "/")), HasSubstr("<title>Tutti</title>"));
  EXPECT_EQ(server.stop(), 0);
}

TEST(Serve, OnlyTheKeyThatMadeAResponseHasIt) {
  const ServerProcess server({"--api-key", "mine", "--api-key", "yours"});
  const std::string json = "Content-Type: application/json\r\n";
  const std::string mine = json + "Authorization: Bearer mine\r\n";
  const std::string yours = json + "Authorization: Bearer yours\r\n";
  const auto respond = [&](const std::string& key, const std::string& more) {
    return ask(server,
               http_request("POST", "/v1/responses", R"({"input":"Hello")" + more + "}", key));
  };
  const std::string made = respond(mine, "");
  const size_t at = made.find("resp-");
  ASSERT_NE(at, std::string::npos) << made;
  const std::string id = made.substr(at, made.find('"', at) - at);
  const std::string path = "/v1/responses/" + id;
  const std::string previous = R"(,"previous_response_id":")" + id + "\"";
  EXPECT_THAT(ask(server, http_request("GET", path, "", yours)), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(ask(server, http_request("DELETE", path, "", yours)), StartsWith("HTTP/1.1 404"));
  const std::string refused = respond(yours, previous);
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(refused, HasSubstr(R"("param":"previous_response_id")"));
  EXPECT_THAT(ask(server, http_request("GET", path, "", mine)), HasSubstr(id));
  EXPECT_THAT(respond(mine, previous), HasSubstr(id));
  EXPECT_THAT(ask(server, http_request("DELETE", path, "", mine)), HasSubstr(R"("deleted":true)"));
  EXPECT_THAT(ask(server, http_request("GET", path, "", mine)), StartsWith("HTTP/1.1 404"));
}

}  // namespace
}  // namespace tutti::testing
