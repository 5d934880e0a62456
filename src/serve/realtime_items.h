// Items of a realtime conversation as clients send them.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <string>

#include "serve/fields.h"
#include "serve/model_info.h"
#include "serve/realtime_conversation.h"

namespace tutti::serve {

constexpr int64_t kMostAudioBytes = 15 << 20;  // of one event or item

// Base64 of 16-bit samples; errors name the field.
std::optional<std::vector<int16_t>> read_pcm16(Fields& fields, std::string_view name);
// A message; its id is empty when the client gave none. Its media are taken in as for an answer
// (which takes its time, so without the session's lock), so that one that cannot be fails here and
// not in every answer from now on. Errors name the field below `path`.
std::optional<ConversationItem> read_item(const boost::json::object& object, std::string path,
                                          const ModelInfo& model, Status* error);

}  // namespace tutti::serve
