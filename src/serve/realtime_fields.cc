#include "serve/realtime_fields.h"

#include <fmt/format.h>

#include "serve/api_error.h"
#include "serve/realtime_settings.h"

namespace tutti::serve {

namespace json = boost::json;

void check_audio_format(Fields& fields, std::string_view name) {
  const json::value* format = fields.any(name);
  if (!format) return;
  bool known = format->is_string() && format->get_string() == "pcm16";
  if (const auto* object = format->if_object()) {
    const json::value* type = object->if_contains("type");
    const json::value* rate = object->if_contains("rate");
    known = type && type->is_string() && type->get_string() == "audio/pcm" &&
            (!rate || (rate->is_int64() && rate->get_int64() == kRealtimeRate));
  }
  if (!known) {
    fields.fail(name, fmt::format("`{}` must be pcm16 (audio/pcm at {} Hz).", fields.path_of(name),
                                  kRealtimeRate));
  }
}

std::optional<bool> read_speech(Fields& fields, const ModelInfo& model) {
  std::optional<bool> speech;
  for (const char* name : {"output_modalities", "modalities"}) {
    if (!fields.any(name)) continue;
    bool sound = false;
    for (const std::string& modality : fields.strings(name)) {
      if (modality != "text" && modality != "audio") {
        fields.fail(name, fmt::format("`{}` has '{}'; text and audio are allowed.",
                                      fields.path_of(name), printable(modality)));
      }
      sound = sound || modality == "audio";
    }
    if (sound && model.audio_stage() < 0) {
      fields.fail(
          name, fmt::format("`{}` has 'audio'; this model does not speak.", fields.path_of(name)));
    }
    speech = sound;
  }
  return speech;
}

std::optional<double> read_speed(Fields& fields) { return fields.number("speed", 0.25, 1.5); }

std::optional<std::optional<int32_t>> read_most_tokens(Fields& fields) {
  std::optional<std::optional<int32_t>> out;
  for (const char* name : {"max_output_tokens", "max_response_output_tokens"}) {
    const json::value* most = fields.any(name);
    if (!most) continue;
    if (most->is_string() && most->get_string() == "inf") {
      out.emplace();
    } else if (!most->is_number()) {
      fields.fail(name, fmt::format("`{}` is {}; it must be an integer or \"inf\".",
                                    fields.path_of(name), json_kind(*most)));
    } else if (const auto value = fields.integer(name, 1, 1 << 24)) {
      out = static_cast<int32_t>(*value);
    }
  }
  return out;
}

void refuse_tools(Fields& fields) {
  refuse(fields, "tools", "realtime sessions call no tools here");
  const json::value* choice = fields.any("tool_choice");
  const auto* name = choice ? choice->if_string() : nullptr;
  if (choice && !(name && (*name == "auto" || *name == "none"))) {
    fields.fail("tool_choice",
                fmt::format("`{}` must be auto or none; realtime sessions call no tools here.",
                            fields.path_of("tool_choice")));
  }
}

void refuse(Fields& fields, std::string_view name, std::string_view why) {
  const json::value* value = fields.any(name);
  const auto* array = value ? value->if_array() : nullptr;
  if (!value || (array && array->empty())) return;
  fields.fail(name, fmt::format("`{}` cannot be set: {}.", fields.path_of(name), why));
}

}  // namespace tutti::serve
