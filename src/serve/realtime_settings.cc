#include "serve/realtime_settings.h"

#include <fmt/format.h>

#include "serve/api_error.h"
#include "serve/voice_field.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

// "pcm16", or {"type": "audio/pcm", "rate": 24000}: the one format there is.
void check_format(Fields& fields, std::string_view name) {
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

void read_turn_detection(Fields& fields, RealtimeSettings& settings, bool present) {
  if (!present) return;
  const json::object* object = fields.object("turn_detection");
  if (!object) {
    if (fields.ok()) settings.turn_detection.reset();  // null: off
    return;
  }
  Fields detection(*object, fields.path_of("turn_detection"), fields.error());
  (void)detection.choice("type", {"server_vad", "semantic_vad"});
  VoiceActivityOptions options;
  options.threshold = detection.number("threshold", 0, 1).value_or(options.threshold);
  options.prefix_padding_ms = static_cast<int32_t>(
      detection.integer("prefix_padding_ms", 0, 5000).value_or(options.prefix_padding_ms));
  options.silence_duration_ms = static_cast<int32_t>(
      detection.integer("silence_duration_ms", 40, 10000).value_or(options.silence_duration_ms));
  settings.create_response = detection.boolean("create_response").value_or(true);
  settings.interrupt_response = detection.boolean("interrupt_response").value_or(true);
  detection.accept({"eagerness", "idle_timeout_ms"});
  if (detection.ok()) detection.finish();
  settings.turn_detection = options;
}

void read_transcription(Fields& fields, std::string_view name, RealtimeSettings& settings,
                        bool present) {
  if (present) settings.transcribe_input = fields.object(name) != nullptr;
}

void read_modalities(Fields& fields, std::string_view name, const ModelInfo& model,
                     RealtimeSettings& settings) {
  if (!fields.any(name)) return;
  bool speech = false;
  for (const std::string& modality : fields.strings(name)) {
    if (modality != "text" && modality != "audio") {
      return fields.fail(name, fmt::format("`{}` has '{}'; text and audio are allowed.",
                                           fields.path_of(name), printable(modality)));
    }
    speech = speech || modality == "audio";
  }
  if (speech && model.audio_stage() < 0) {
    return fields.fail(
        name, fmt::format("`{}` has 'audio'; this model does not speak.", fields.path_of(name)));
  }
  settings.speech = speech;
}

void read_audio(Fields& session, const ModelInfo& model, RealtimeSettings& settings) {
  const json::object* object = session.object("audio");
  if (!object) return;
  Fields audio(*object, session.path_of("audio"), session.error());
  if (const json::object* in = audio.object("input")) {
    Fields input(*in, audio.path_of("input"), session.error());
    check_format(input, "format");
    read_turn_detection(input, settings, in->contains("turn_detection"));
    read_transcription(input, "transcription", settings, in->contains("transcription"));
    input.accept({"turn_detection", "transcription", "noise_reduction"});
    if (input.ok()) input.finish();
  }
  if (const json::object* out = audio.object("output")) {
    Fields output(*out, audio.path_of("output"), session.error());
    check_format(output, "format");
    if (const auto voice = read_voice(output, model)) settings.voice = *voice;
    output.accept({"speed"});
    if (output.ok()) output.finish();
  }
  if (audio.ok()) audio.finish();
}

}  // namespace

void RealtimeSettings::update(const json::object& object, const ModelInfo& served, Status* error) {
  Fields session(object, "session", error);
  if (const auto text = session.string("instructions")) instructions = *text;
  read_modalities(session, "output_modalities", served, *this);
  read_modalities(session, "modalities", served, *this);
  read_audio(session, served, *this);
  if (const auto name = read_voice(session, served)) voice = *name;
  check_format(session, "input_audio_format");
  check_format(session, "output_audio_format");
  read_turn_detection(session, *this, object.contains("turn_detection"));
  read_transcription(session, "input_audio_transcription", *this,
                     object.contains("input_audio_transcription"));
  if (const auto value = session.number("temperature", 0, 2)) temperature = *value;
  for (const char* name : {"max_output_tokens", "max_response_output_tokens"}) {
    const json::value* most = session.any(name);
    if (!most) continue;
    if (most->is_string() && most->get_string() == "inf") {
      max_output_tokens.reset();
    } else if (const auto value = session.integer(name, 1, 1 << 24)) {
      max_output_tokens = static_cast<int32_t>(*value);
    }
  }
  if (const auto name = session.string("model"); name && error->ok()) {
    *error = served.check_model(*name);
    model = *name;
  }
  session.accept({"type", "id", "object", "tools", "tool_choice", "tracing", "include", "prompt",
                  "truncation", "expires_at", "turn_detection", "input_audio_transcription",
                  "input_audio_noise_reduction", "speed", "conversation", "metadata", "input"});
  if (error->ok()) session.finish();
}

json::object RealtimeSettings::json(const std::string& id, const ModelInfo& served) const {
  const json::object format{{"type", "audio/pcm"}, {"rate", kRealtimeRate}};
  json::value detection = nullptr;
  if (turn_detection) {
    detection = json::object{{"type", "server_vad"},
                             {"threshold", turn_detection->threshold},
                             {"prefix_padding_ms", turn_detection->prefix_padding_ms},
                             {"silence_duration_ms", turn_detection->silence_duration_ms},
                             {"create_response", create_response},
                             {"interrupt_response", interrupt_response}};
  }
  json::object input{{"format", format}, {"turn_detection", std::move(detection)}};
  input["transcription"] =
      transcribe_input ? json::value(json::object{{"model", served.name()}}) : json::value(nullptr);
  const std::vector<std::string>& voices = served.engine().voices();
  const std::string spoken = voice.empty() && !voices.empty() ? voices.front() : voice;
  return {
      {"type", "realtime"},
      {"id", id},
      {"object", "realtime.session"},
      {"model", model.empty() ? served.name() : model},
      {"instructions", instructions},
      {"output_modalities", json::array{speech ? "audio" : "text"}},
      {"audio", {{"input", std::move(input)}, {"output", {{"format", format}, {"voice", spoken}}}}},
      {"max_output_tokens",
       max_output_tokens ? json::value(*max_output_tokens) : json::value("inf")}};
}

}  // namespace tutti::serve
