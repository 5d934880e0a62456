// What a load run asks for: where, what, how many and how fast.
//
// Thread: plain data.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/http_url.h"

namespace tutti::bench {

// Named as vLLM's and vLLM-Omni's `bench serve --backend`.
enum class Backend : uint8_t {
  kCompletions,  // openai: POST /v1/completions, text
  kChat,         // openai-chat: POST /v1/chat/completions, text
  kChatOmni,     // openai-chat-omni: the same with speech
  kSpeech,       // openai-audio-speech: POST /v1/audio/speech
  kRealtime,     // openai-realtime: WS /v1/realtime, speech
};

struct BackendInfo {
  Backend backend;
  std::string_view name;
  std::string_view endpoint;
};
inline constexpr BackendInfo kBackends[] = {
    {Backend::kCompletions, "openai", "/v1/completions"},
    {Backend::kChat, "openai-chat", "/v1/chat/completions"},
    {Backend::kChatOmni, "openai-chat-omni", "/v1/chat/completions"},
    {Backend::kSpeech, "openai-audio-speech", "/v1/audio/speech"},
    {Backend::kRealtime, "openai-realtime", "/v1/realtime"},
};
const BackendInfo& backend_info(Backend backend);

struct GoodputLimit {
  enum class Metric : uint8_t { kTtft, kTpot, kTtfa, kE2e } metric;
  double limit_ms;
};

struct LoadOptions {
  HttpUrl url;            // of the server; the endpoint is appended to its path
  bool insecure = false;  // takes any certificate
  std::string api_key;
  std::vector<std::pair<std::string, std::string>> headers;
  Backend backend = Backend::kChat;
  std::string endpoint;  // empty: the backend's
  std::string model;     // empty: the first that the server lists
  std::string voice;     // empty: the server's choice
  std::optional<int32_t> output_len;
  bool ignore_eos = false;
  std::optional<double> temperature;
  boost::json::object extra_body;  // fields of every request; of realtime: of its session

  int64_t num_prompts = 1000;
  double request_rate = std::numeric_limits<double>::infinity();  // requests per second
  double burstiness = 1;                                          // as of arrivals()
  int64_t max_concurrency = 0;                                    // 0: no bound
  uint64_t seed = 0;
  double request_timeout_s = 600;
  std::vector<GoodputLimit> goodput;  // what a good request keeps; none: not asked for

  struct Progress {
    int64_t completed = 0;
    int64_t failed = 0;
    int64_t in_flight = 0;
  };
  // Called a few times a second; true ends the run at once.
  std::function<bool(const Progress&)> on_progress;
};

}  // namespace tutti::bench
