#include "serve/realtime_settings.h"

#include <fmt/format.h>

#include "serve/realtime_fields.h"
#include "serve/voice_field.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

void read_turn_detection(Fields& fields, RealtimeSettings& settings, bool present) {
  if (!present) return;
  const json::object* object = fields.object("turn_detection");
  if (!object) {
    if (fields.ok()) settings.turn_detection.reset();  // null: off
    return;
  }
  Fields detection(*object, fields.path_of("turn_detection"), fields.error());
  (void)detection.choice("type", {"server_vad"});
  VoiceActivityOptions options;
  options.threshold = detection.number("threshold", 0, 1).value_or(options.threshold);
  options.prefix_padding_ms = static_cast<int32_t>(
      detection.integer("prefix_padding_ms", 0, 5000).value_or(options.prefix_padding_ms));
  options.silence_duration_ms = static_cast<int32_t>(
      detection.integer("silence_duration_ms", 40, 10000).value_or(options.silence_duration_ms));
  settings.create_response = detection.boolean("create_response").value_or(true);
  settings.interrupt_response = detection.boolean("interrupt_response").value_or(true);
  refuse(detection, "idle_timeout_ms", "nobody is spoken to who is silent");
  if (detection.ok()) detection.finish();
  settings.turn_detection = options;
}

void read_transcription(Fields& fields, std::string_view name, RealtimeSettings& settings,
                        bool present) {
  if (!present) return;
  const json::object* object = fields.object(name);
  settings.transcribe_input = object != nullptr;
  settings.transcription_prompt.clear();
  if (!object) return;
  Fields transcription(*object, fields.path_of(name), fields.error());
  // The served model hears in whatever language it is; clients name another one by default.
  (void)transcription.string("model");
  (void)transcription.string("language");
  settings.transcription_prompt = transcription.string("prompt").value_or("");
  if (transcription.ok()) transcription.finish();
}

constexpr const char* kNoNoiseReduction = "the model hears the sound as it comes";

void read_input(Fields& input, RealtimeSettings& settings, const json::object& object) {
  check_audio_format(input, "format");
  read_turn_detection(input, settings, object.contains("turn_detection"));
  read_transcription(input, "transcription", settings, object.contains("transcription"));
  refuse(input, "noise_reduction", kNoNoiseReduction);
  if (input.ok()) input.finish();
}

void read_output(Fields& output, const ModelInfo& model, RealtimeSettings& settings) {
  check_audio_format(output, "format");
  if (const auto voice = read_voice(output, model)) settings.voice = *voice;
  if (const auto speed = read_speed(output)) settings.speed = *speed;
  if (output.ok()) output.finish();
}

void read_audio(Fields& session, const ModelInfo& model, RealtimeSettings& settings) {
  const json::object* object = session.object("audio");
  if (!object) return;
  Fields audio(*object, session.path_of("audio"), session.error());
  if (const json::object* in = audio.object("input")) {
    Fields input(*in, audio.path_of("input"), session.error());
    read_input(input, settings, *in);
  }
  if (const json::object* out = audio.object("output")) {
    Fields output(*out, audio.path_of("output"), session.error());
    read_output(output, model, settings);
  }
  if (audio.ok()) audio.finish();
}

// By the names that OpenAI's earlier version had.
void read_earlier(Fields& session, const ModelInfo& model, RealtimeSettings& settings,
                  const json::object& object) {
  if (const auto name = read_voice(session, model)) settings.voice = *name;
  if (const auto speed = read_speed(session)) settings.speed = *speed;
  check_audio_format(session, "input_audio_format");
  check_audio_format(session, "output_audio_format");
  read_turn_detection(session, settings, object.contains("turn_detection"));
  read_transcription(session, "input_audio_transcription", settings,
                     object.contains("input_audio_transcription"));
  refuse(session, "input_audio_noise_reduction", kNoNoiseReduction);
}

void refuse_what_there_is_not(Fields& session) {
  (void)session.choice("type", {"realtime"});
  refuse_tools(session);
  refuse(session, "include", "transcripts come without log probabilities");
  refuse(session, "prompt", "no prompts are stored here");
  refuse(session, "tracing", "the server writes traces of its own (--trace-out)");
  const json::value* truncation = session.any("truncation");
  if (truncation && *truncation != "disabled") {
    session.fail("truncation",
                 "`session.truncation` must be \"disabled\"; items are deleted by the client "
                 "alone.");
  }
}

}  // namespace

void RealtimeSettings::update(const json::object& object, const ModelInfo& served, Status* error) {
  Fields session(object, "session", error);
  if (const auto text = session.string("instructions")) instructions = *text;
  if (const auto wanted = read_speech(session, served)) speech = *wanted;
  read_audio(session, served, *this);
  read_earlier(session, served, *this, object);
  if (const auto value = session.number("temperature", 0, 2)) temperature = *value;
  if (const auto most = read_most_tokens(session)) max_output_tokens = *most;
  if (const auto name = session.string("model"); name && error->ok()) {
    *error = served.check_model(*name);
    model = *name;
  }
  refuse_what_there_is_not(session);
  session.accept({"id", "object", "expires_at"});  // of the session as the server has told it
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
  input["transcription"] = nullptr;
  if (transcribe_input)
    input["transcription"] =
        json::object{{"model", served.name()}, {"prompt", transcription_prompt}};
  input["noise_reduction"] = nullptr;
  return {{"type", "realtime"},
          {"id", id},
          {"object", "realtime.session"},
          {"model", model.empty() ? served.name() : model},
          {"instructions", instructions},
          {"output_modalities", json::array{speech ? "audio" : "text"}},
          {"audio", {{"input", std::move(input)}, {"output", output_json(served)}}},
          {"max_output_tokens", most_tokens_json()},
          {"tools", json::array()},
          {"tool_choice", "none"},
          {"truncation", "disabled"}};
}

json::object RealtimeSettings::output_json(const ModelInfo& served) const {
  const std::vector<std::string>& voices = served.engine().voices();
  return {{"format", {{"type", "audio/pcm"}, {"rate", kRealtimeRate}}},
          {"voice", voice.empty() && !voices.empty() ? voices.front() : voice},
          {"speed", speed}};
}

json::value RealtimeSettings::most_tokens_json() const {
  return max_output_tokens ? json::value(*max_output_tokens) : json::value("inf");
}

}  // namespace tutti::serve
