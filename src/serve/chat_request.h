// The body of POST /v1/chat/completions, read and checked.
#pragma once

#include <optional>
#include <string>

#include "tutti/request.h"

#include "media/audio_encoder.h"
#include "serve/chat_messages.h"
#include "serve/http.h"
#include "serve/model_info.h"

namespace tutti::serve {

struct ChatRequest {
  std::string model;
  AddRequest request;  // of the first choice; without an id
  std::string echo;    // what the text of each choice begins with
  int32_t n = 1;
  bool stream = false;
  bool include_usage = false;
  bool resumable_stream = false;
  bool speech = false;
  AudioFormat audio_format = AudioFormat::kWav;
  bool logprobs = false;
  bool return_stage_metrics = false;
  bool live_stage_metrics = false;  // of a stream: while the answer comes, too
  bool vllm_audio_delta = false;    // audio as vLLM-Omni streams it
};

Result<ChatRequest> read_chat_request(const ModelInfo& model, const HttpRequest& http,
                                      const TranscriptLookup& transcript);

// W3C trace context of the caller, for AddRequest::trace_headers.
std::map<std::string, std::string> trace_headers(const HttpRequest& http);

}  // namespace tutti::serve
