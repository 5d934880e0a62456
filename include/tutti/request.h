// What a caller asks for: prompts in all their forms.
#pragma once

#include <cstddef>
#include <cstdint>
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

// One picture, sound or clip: a file, a URL (data:, and others where allowed) or bytes in memory.
struct MediaItem {
  MediaKind kind = MediaKind::kImage;
  std::string path_or_url;                                        // empty when `bytes` is given
  std::shared_ptr<const std::vector<std::byte>> bytes = nullptr;  // shared, never copied
  std::shared_ptr<const Clip> clip = nullptr;                     // internal; of videos
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
};

struct TokensPrompt {
  std::vector<int32_t> token_ids;
};

struct ChatPrompt {
  std::vector<ChatMessage> messages;
  std::string tools_json;            // JSON array, or empty
  std::string template_kwargs_json;  // JSON object with further template variables, or empty
  bool add_generation_prompt = true;
  // Lay a clip's sound between its frames, as one stream.
  bool use_audio_in_video = false;
};

using Prompt = std::variant<TextPrompt, TokensPrompt, ChatPrompt>;

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
};

}  // namespace tutti
