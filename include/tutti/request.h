// What a caller asks for: prompts in all their forms.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tutti/sampling_params.h"

namespace tutti {

struct Clip;  // media/clip.h: a clip that the engine's own code has decoded

enum class MediaKind : uint8_t { kAudio, kImage, kVideo };

// One picture, sound or clip: a file, a URL or bytes in memory. URLs: data: always, http(s):// and
// file:// as EngineOptions allow.
struct MediaItem {
  MediaKind kind = MediaKind::kImage;
  std::string path_or_url;                                        // empty when `bytes` is given
  std::shared_ptr<const std::vector<std::byte>> bytes = nullptr;  // shared, never copied
  std::shared_ptr<const Clip> clip = nullptr;                     // internal; of videos
  // `path_or_url` may be the path of any file. Set it for paths of your own user at this machine;
  // never for what came over a network.
  bool trusted_path = false;

  // The file at a path that is vouched for; URLs are what they are anywhere.
  static MediaItem file(MediaKind kind, std::string path_or_url) {
    MediaItem item;
    item.kind = kind;
    item.path_or_url = std::move(path_or_url);
    item.trusted_path = true;
    return item;
  }
};

struct ContentPart {
  std::string text;  // used when `media` is none
  std::optional<MediaItem> media;
};

struct ChatMessage {
  std::string role;  // system, user, assistant, tool
  std::vector<ContentPart> content;
  // Further fields that the chat template may read (tool_calls, reasoning_content, name), as one
  // JSON object; empty when none.
  std::string extra_json;

  static ChatMessage text(std::string role, std::string text) {
    ChatMessage message;
    message.role = std::move(role);
    message.content.push_back({std::move(text), std::nullopt});
    return message;
  }
};

struct TextPrompt {
  std::string text;  // taken as it is: no chat template
  // One item for each media placeholder of the text, in their order.
  std::vector<MediaItem> multi_modal_data = {};
};

struct TokensPrompt {
  std::vector<int32_t> token_ids;
  std::vector<MediaItem> multi_modal_data = {};  // as of TextPrompt
};

// Rows that take the place of stage 0's token embeddings.
struct EmbedsPrompt {
  int64_t hidden_size = 0;
  std::vector<float> values;  // [num_tokens, hidden_size]
};

struct ChatPrompt {
  std::vector<ChatMessage> messages;
  std::string tools_json = {};            // JSON array, or empty
  std::string template_kwargs_json = {};  // JSON object with further template variables, or empty
  bool add_generation_prompt = true;
  // The last message is not at its end: nothing closes it, and what follows goes on with it, the
  // answer or the first message of a further segment. No generation prompt then.
  bool continue_final_message = false;
  // Lay a clip's sound between its frames, as one stream.
  bool use_audio_in_video = false;
};

using Prompt = std::variant<TextPrompt, TokensPrompt, ChatPrompt, EmbedsPrompt>;

// A PEFT adapter, by vLLM's names. Loaded at its first use; later ones need only the name.
struct LoraRequest {
  std::string lora_name;
  std::string lora_path;  // directory with adapter_config.json; empty: already loaded
};

// The arguments of AsyncOmniEngine::add_request, by vLLM-Omni's names.
struct AddRequest {
  std::string request_id;  // any non-empty string; unique among live requests
  Prompt prompt;
  // Empty: the engine's defaults. Otherwise one entry per stage.
  std::vector<SamplingParams> sampling_params_list;
  // Which final outputs the caller wants, as stage ids; empty: every final stage of the pipeline.
  // Stages that none of them needs never run.
  std::vector<int32_t> final_output_stage_ids;
  // Name of a voice for speech output; empty: the model's default.
  std::string voice;
  // Smaller is sooner, in every stage.
  int32_t priority = 0;
  // How long to wait for room when the request queue is full; 0 answers at once.
  double queue_timeout_s = 0;
  // The prompt as the caller typed it, for traces; never tokenized.
  std::string prompt_text;
  // The last stage that may run; outputs of later ones are not wanted. None: no limit.
  std::optional<int32_t> final_stage_id;
  // When the caller got the request, in seconds since the epoch; none: now.
  std::optional<double> arrival_time;
  // Applies on the stages that the adapter has weights for.
  std::optional<LoraRequest> lora_request;
  // JSON object of tokenizer options: add_special_tokens, truncate_prompt_tokens; empty: none.
  std::string tokenization_kwargs_json;
  // W3C trace context of the caller: traceparent, tracestate. Spans of every stage join it.
  std::map<std::string, std::string> trace_headers;
  // The replica to use in every stage; an error when a pool has fewer.
  std::optional<int32_t> data_parallel_rank;
  // Whether the thinking section is over (for structured output).
  std::optional<bool> reasoning_ended;
  // More input follows by add_streaming_update().
  bool resumable = false;
  // Ends the request with an error when it lives longer; none: the engine's limit.
  std::optional<double> timeout_s;
};

// The arguments of AsyncOmniEngine::add_streaming_update: a further segment of a resumable request.
// Its prompt continues the context after all earlier segments and their answers; its sampling
// parameters hold for its own answer, and max_tokens 0 takes the input in without answering.
struct StreamingUpdate {
  std::string request_id;
  Prompt prompt;
  std::string prompt_text;
  std::vector<SamplingParams> sampling_params_list;  // empty: those of the request's beginning
  // As of AddRequest; when given they must be what the request began with.
  std::optional<int32_t> final_stage_id;
  std::vector<int32_t> final_output_stage_ids;
  std::optional<double> arrival_time;
  bool resumable = true;  // false: the last segment
};

}  // namespace tutti
