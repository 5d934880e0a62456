// Commands of the `tutti` program. Each is a function from parsed flags to an exit code.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage (flags and their values), 130 interrupted.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "tutti/options.h"
#include "tutti/request.h"
#include "tutti/sampling_params.h"
#include "tutti/status.h"

namespace tutti::cli {

constexpr int kExitOk = 0;
constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;
constexpr int kExitInterrupted = 130;

// Values of flags that override a stage's defaults; unset ones keep them.
struct SamplingFlags {
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<int32_t> top_k;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<int32_t> max_tokens;
  std::vector<std::string> stop;
  bool ignore_eos = false;

  void apply(SamplingParams& params) const;
};

// What every command that talks to a model takes.
struct CommonFlags {
  std::string model = "nano";  // the bundled one
  std::string system;
  std::string voice;
  std::string lora;  // NAME=DIRECTORY
  bool use_audio_in_video = false;
  SamplingFlags text_sampling;
  SamplingFlags speech_sampling;
  std::optional<uint64_t> seed;
  int32_t priority = 0;
  std::optional<double> timeout_s;
  bool quiet = false;
  EngineOptions engine;
};

struct GenerateFlags : CommonFlags {
  std::string text;
  std::vector<MediaItem> media;  // in the order given; before the text
  bool raw = false;              // no chat template
  std::string audio_out;
  std::vector<std::string> modalities;
};

struct ChatFlags : CommonFlags {
  std::string out_dir = "tutti-chat";  // for the answers' WAV files
  bool no_speech = false;
  bool no_play = false;
};

struct ServeFlags : CommonFlags {
  std::string host = "127.0.0.1";
  uint16_t port = 8091;
  int32_t http_threads = 2;
  int32_t max_connections = 4096;
  int64_t max_header_kb = 32;
  int64_t max_body_mb = 64;
  int64_t max_message_mb = 16;  // of a WebSocket
  int64_t max_unread_mb = 64;
  double header_timeout_s = 10;
  double body_timeout_s = 120;
  double write_timeout_s = 60;
  double keep_alive_timeout_s = 75;
  double stream_grace_s = 30;
  double realtime_window_s = 8;
  double grace_s = 10;                     // for live requests when the server is asked to end
  std::vector<std::string> voice_aliases;  // ALIAS=VOICE
  std::vector<std::string> lora_modules;   // NAME=DIRECTORY
  std::vector<std::string> allowed_lora_paths;
  std::vector<std::string> served_names;
  std::vector<std::string> api_keys;
  std::vector<std::string> cors_origins;
  std::string tls_cert;
  std::string tls_key;
  bool no_playground = false;
};

struct ConfigFlags {
  std::string model = "nano";
  EngineOptions engine;
};

// Names as vLLM's `bench serve` has them.
struct BenchServeFlags {
  std::string base_url;  // empty: http://host:port
  std::string host = "127.0.0.1";
  uint16_t port = 8091;
  bool insecure = false;
  std::string api_key;
  std::vector<std::string> headers;  // NAME=VALUE
  std::string backend = "openai-chat";
  std::string endpoint;
  std::string model;
  std::string voice;
  std::optional<int32_t> output_len;
  bool ignore_eos = false;
  std::optional<double> temperature;
  std::string extra_body;  // a JSON object
  std::string dataset_path;
  int64_t num_prompts = 100;
  double request_rate = std::numeric_limits<double>::infinity();
  double burstiness = 1;
  int64_t max_concurrency = 0;
  uint64_t seed = 0;
  double request_timeout_s = 600;
  std::vector<double> percentiles{90, 95, 99};
  std::vector<std::string> goodput;  // NAME:MS
  bool save_result = false;
  bool save_detailed = false;
  std::string result_dir;
  std::string result_filename;
  std::string plot;
  bool quiet = false;
};

// Prints the effective configuration as a deploy file, with the origin of every value and the
// memory plan as comments. Fails, after printing, when the stages do not fit the memory.
int run_config(const ConfigFlags& flags);

int run_generate(const GenerateFlags& flags);
int run_chat(const ChatFlags& flags);
// Serves until SIGINT or SIGTERM; 0 after an orderly end.
int run_serve(const ServeFlags& flags);

// Sends a server its load and prints what its clients saw; fails when no request succeeded.
int run_bench_serve(const BenchServeFlags& flags);

// Prints "error: sentence" on stderr and returns the exit code that fits the status.
int report_error(const Status& status);
int report_usage_error(const std::string& sentence);

}  // namespace tutti::cli
