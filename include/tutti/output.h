// What the engine answers with: messages of a request, in order, with exactly one terminal message.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "tutti/status.h"

namespace tutti {

enum class FinishReason : uint8_t {
  kNone,    // still running
  kStop,    // end token or stop string
  kLength,  // max_tokens or the context's end
  kAbort,   // the caller's abort, or shutdown
  kError,
};
std::string_view finish_reason_name(FinishReason reason);  // "stop", "length", ...

struct TokenLogprob {
  int32_t token_id = 0;
  float logprob = 0;
  int32_t rank = 0;  // 1: the likeliest
};

struct AudioChunk {
  std::vector<float> samples;  // mono, -1..1
  int32_t sample_rate = 0;     // Hz
};

// New output of one stage since its last message.
struct StageOutputDelta {
  std::string text;  // complete code points only
  std::vector<int32_t> token_ids;
  std::vector<std::vector<TokenLogprob>> logprobs;  // per token, when asked for
  AudioChunk audio;
  FinishReason finish_reason = FinishReason::kNone;  // of this stage
  std::string stop_reason;                           // the stop string or token that ended it
};

// Seconds of one request in one stage; times are steady-clock seconds since the engine's start.
struct StageMetrics {
  double submitted_s = 0;  // when the stage got the request
  double first_scheduled_s = 0;
  double first_output_s = 0;
  double finished_s = 0;
  double compute_s = 0;       // this request's steps, whole step time
  int64_t prompt_tokens = 0;  // tokens or frames in
  int64_t cached_tokens = 0;  // of these, taken from the prefix cache
  int64_t output_tokens = 0;  // tokens, frames or samples out
  int64_t preemptions = 0;
  double transfer_s = 0;     // from leaving the upstream stages to being taken here, all chunks
  double first_audio_s = 0;  // when the first audible sound had left the stage; 0: none yet
  double audio_s = 0;        // seconds of audio out
  double underrun_s = 0;     // seconds a listener has waited in silence after playback began
};

struct OutputMessage {
  std::string request_id;
  int32_t stage_id = 0;
  int32_t replica_id = 0;
  std::string output_type;  // the stage's final_output_type: "text", "audio"
  StageOutputDelta output;
  StageMetrics metrics;
  double stage_submit_ts = 0;
  // True on the request's one terminal message: all its final output stages are done.
  bool finished = false;
  int32_t segment = 0;  // of a resumable request: whose answer this is
};

// A stage that is not final has finished its part.
struct StageMetricsMessage {
  std::string request_id;
  int32_t stage_id = 0;
  int32_t replica_id = 0;
  StageMetrics metrics;
  double stage_submit_ts = 0;
};

// Ends its request (terminal), or, when fatal and without request_id, the engine.
struct ErrorMessage {
  std::string request_id;  // empty when about no request
  std::optional<int32_t> stage_id;
  Status error;
  bool fatal = false;
};

// What an acknowledged abort has ended.
struct AbortResult {
  std::string request_id;
  // The request's terminal message, with what its stages had produced and not handed out.
  OutputMessage output;
};

// One replica's answer to a control method.
struct RpcResult {
  int32_t stage_id = 0;
  int32_t replica_id = 0;
  Status status;
  std::string result_json;  // empty when status is not OK
};

using EngineMessage = std::variant<OutputMessage, StageMetricsMessage, ErrorMessage>;

}  // namespace tutti
