#include "apps/bench_serve/request_body.h"

#include "media/audio_encoder.h"
#include "media/audio_file.h"
#include "serve/json_text.h"

namespace tutti::bench {

namespace json = boost::json;

namespace {

constexpr int32_t kRealtimeRate = 24000;  // Hz, both ways

std::string base64(std::string_view bytes) {
  std::string out;
  serve::append_base64(out, std::as_bytes(std::span(bytes)));
  return out;
}

json::array messages_of(const LoadPrompt& prompt) {
  if (!prompt.messages.empty()) return prompt.messages;
  if (prompt.sound.empty()) return {json::object{{"role", "user"}, {"content", prompt.text}}};
  json::array parts{json::object{
      {"type", "input_audio"},
      {"input_audio", {{"data", base64(prompt.sound)}, {"format", prompt.sound_format}}}}};
  if (!prompt.text.empty()) parts.push_back({{"type", "text"}, {"text", prompt.text}});
  return {json::object{{"role", "user"}, {"content", std::move(parts)}}};
}

void add_sampling(const LoadOptions& options, const LoadPrompt& prompt, json::object& body) {
  const auto most = prompt.output_tokens ? prompt.output_tokens : options.output_len;
  const bool chat = options.backend != Backend::kCompletions;
  if (most) body[chat ? "max_completion_tokens" : "max_tokens"] = *most;
  if (options.ignore_eos) body["ignore_eos"] = true;
  if (options.temperature) body["temperature"] = *options.temperature;
  body["stream"] = true;
  body["stream_options"] = json::object{{"include_usage", true}};
}

void add_extra(const LoadOptions& options, json::object& body) {
  for (const auto& field : options.extra_body) body[field.key()] = field.value();
}

}  // namespace

std::string request_body(const LoadOptions& options, const LoadPrompt& prompt) {
  json::object body{{"model", options.model}};
  if (options.backend == Backend::kSpeech) {
    body["input"] = prompt.text;
    body["response_format"] = "pcm";
    if (!options.voice.empty()) body["voice"] = options.voice;
  } else {
    if (options.backend == Backend::kCompletions) {
      body["prompt"] = prompt.text;
    } else {
      body["messages"] = messages_of(prompt);
    }
    add_sampling(options, prompt, body);
  }
  if (options.backend == Backend::kChatOmni) {
    body["modalities"] = json::array{"text", "audio"};
    json::object audio{{"format", "pcm16"}};
    if (!options.voice.empty()) audio["voice"] = options.voice;
    body["audio"] = std::move(audio);
  }
  add_extra(options, body);
  return json::serialize(body);
}

Result<RealtimeScript> realtime_script(const LoadOptions& options, const LoadPrompt& prompt) {
  RealtimeScript script;
  json::object output{{"format", {{"type", "audio/pcm"}, {"rate", kRealtimeRate}}}};
  if (!options.voice.empty()) output["voice"] = options.voice;
  const json::object input{{"format", {{"type", "audio/pcm"}, {"rate", kRealtimeRate}}},
                           {"turn_detection", nullptr}};
  json::object session{{"type", "realtime"},
                       {"output_modalities", json::array{"audio"}},
                       {"audio", {{"input", input}, {"output", std::move(output)}}}};
  const auto most = prompt.output_tokens ? prompt.output_tokens : options.output_len;
  if (most) session["max_output_tokens"] = *most;
  add_extra(options, session);
  script.setup =
      json::serialize(json::object{{"type", "session.update"}, {"session", std::move(session)}});
  if (!prompt.sound.empty()) {
    TUTTI_ASSIGN_OR_RETURN(const std::vector<float> samples,
                           decode_audio(std::as_bytes(std::span(prompt.sound)), kRealtimeRate));
    const size_t step = kRealtimeRate * kSoundEvent_ms / 1000;
    for (size_t at = 0; at < samples.size(); at += step) {
      const size_t count = std::min(step, samples.size() - at);
      script.sound.push_back(json::serialize(
          json::object{{"type", "input_audio_buffer.append"},
                       {"audio", base64(pcm16(std::span(samples).subspan(at, count)))}}));
    }
    script.commit.push_back(R"({"type":"input_audio_buffer.commit"})");
  }
  if (!prompt.text.empty()) {
    const json::object part{{"type", "input_text"}, {"text", prompt.text}};
    const json::object item{{"type", "message"}, {"role", "user"}, {"content", json::array{part}}};
    script.commit.push_back(
        json::serialize(json::object{{"type", "conversation.item.create"}, {"item", item}}));
  }
  script.commit.push_back(R"({"type":"response.create"})");
  return script;
}

}  // namespace tutti::bench
