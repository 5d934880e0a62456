// Fields that a session and one answer of it have in common. Errors name the field.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "serve/fields.h"
#include "serve/model_info.h"

namespace tutti::serve {

// "pcm16", or {"type": "audio/pcm", "rate": 24000}: the one format there is.
void check_audio_format(Fields& fields, std::string_view name);
// Whether `output_modalities`, or `modalities` as it was called, have sound; none: not given.
std::optional<bool> read_speech(Fields& fields, const ModelInfo& model);
// How fast answers are spoken.
std::optional<double> read_speed(Fields& fields);
// `max_output_tokens`, or `max_response_output_tokens` as it was called. The outer none: not given,
// the inner one: "inf".
std::optional<std::optional<int32_t>> read_most_tokens(Fields& fields);
// What this server does not do in realtime sessions: only what says "no" is taken.
void refuse_tools(Fields& fields);
// Null or an empty array are fine, anything else is an error that ends with `why`.
void refuse(Fields& fields, std::string_view name, std::string_view why);

}  // namespace tutti::serve
