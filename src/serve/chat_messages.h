// Messages with content parts, as the OpenAI API has them, to a ChatPrompt.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tutti/request.h"

#include "serve/fields.h"

namespace tutti::serve {

// The transcript of an earlier spoken answer, by its audio id; none when it is not known (any
// more).
using TranscriptLookup = std::function<std::optional<std::string>(const std::string& audio_id)>;

// The field `name`, an array of messages. Errors name the field.
std::vector<ChatMessage> read_chat_messages(Fields& fields, const TranscriptLookup& transcript,
                                            std::string_view name = "messages");
// The engine's error about a prompt, or about `messages[i]...` of it, as one about the client's
// field `name`, whose messages follow `before` others. Other errors stay as they are.
Status about_field(Status error, std::string_view name, size_t before);
// `add_generation_prompt` and `continue_final_message`, of a prompt that has its messages.
void read_prompt_end(Fields& fields, ChatPrompt& prompt);
// A `data:` URL or another one, or {"url": ...}.
std::optional<MediaItem> read_media_url(Fields& part, std::string_view name, MediaKind kind);
// {"data": base64, "format": "wav"}.
std::optional<MediaItem> read_input_audio(Fields& part, std::string_view name);

}  // namespace tutti::serve
