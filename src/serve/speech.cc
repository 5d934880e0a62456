#include "serve/speech.h"

#include <fmt/format.h>

#include "media/audio_encoder.h"
#include "media/time_stretch.h"
#include "serve/api_error.h"
#include "serve/chat_request.h"
#include "serve/fields.h"
#include "serve/json_text.h"
#include "serve/text_answer.h"
#include "serve/voice_field.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

constexpr size_t kMostInput = 4096;  // characters, OpenAI's limit

struct SpeechRequest {
  std::string model;
  std::string input;
  std::string instructions;
  std::string voice;
  AudioFormat format = AudioFormat::kMp3;
  double speed = 1;
  bool events = false;
  std::optional<uint64_t> seed;
};

Result<SpeechRequest> read_speech(const ModelInfo& model, const HttpRequest& http) {
  TUTTI_ASSIGN_OR_RETURN(const json::object body,
                         parse_json_body(http.header("content-type"), http.body));
  Status error;
  Fields fields(body, "", &error);
  SpeechRequest speech;
  speech.model = fields.string("model").value_or(model.name());
  if (error.ok()) error = model.check_model(speech.model);
  speech.input = fields.string("input").value_or("");
  if (error.ok() && speech.input.empty()) fields.missing("input", "the text to read, not empty");
  if (error.ok() && speech.input.size() > 4 * kMostInput) {
    fields.fail("input",
                fmt::format("`input` has {} bytes; at most {} characters are read at once.",
                            speech.input.size(), kMostInput));
  }
  speech.voice = read_voice(fields, model).value_or("");
  speech.instructions = fields.string("instructions").value_or("");
  speech.speed = fields.number("speed", 0.25, 4).value_or(1);
  if (const auto format = fields.string("response_format")) {
    const auto known = audio_format(*format);
    if (known) {
      speech.format = *known;
    } else {
      fields.fail("response_format", fmt::format("`response_format` is '{}'; it must be {}.",
                                                 printable(*format), audio_format_names()));
    }
  }
  const auto stream = fields.choice("stream_format", {"audio", "sse"});
  speech.events = stream && *stream == "sse";
  if (const auto seed = fields.integer("seed")) speech.seed = static_cast<uint64_t>(*seed);
  if (error.ok()) fields.finish();
  if (!error.ok()) return error;
  if (model.audio_stage() < 0) {
    return invalid_argument("This model does not speak.").with_param("model");
  }
  return speech;
}

AddRequest to_request(const ModelInfo& model, const SpeechRequest& speech, std::string id) {
  ChatPrompt prompt;
  if (!speech.instructions.empty()) {
    prompt.messages.push_back(ChatMessage::text("system", speech.instructions));
  }
  prompt.messages.push_back(ChatMessage::text("user", "Read aloud: " + speech.input));
  AddRequest request;
  request.request_id = std::move(id);
  request.prompt = std::move(prompt);
  request.prompt_text = speech.input;
  request.lora_request = model.adapter(speech.model);
  request.voice = speech.voice;
  request.final_output_stage_ids = {model.text_stage(), model.audio_stage()};
  request.sampling_params_list = model.engine().default_sampling_params_list();
  for (SamplingParams& params : request.sampling_params_list) params.seed = speech.seed;
  return request;
}

// From samples to bytes of the file, stretched and encoded while they come.
class SpeechBytes {
 public:
  SpeechBytes(AudioFormat format, double speed) : format_(format), speed_(speed) {}

  Result<std::string> append(const AudioChunk& audio) {
    if (audio.samples.empty()) return std::string();
    if (!encoder_) {
      TUTTI_ASSIGN_OR_RETURN(encoder_, AudioEncoder::create(format_, audio.sample_rate, true));
      stretch_ = std::make_unique<TimeStretch>(audio.sample_rate, speed_);
    }
    return encoder_->append(stretch_->append(audio.samples));
  }
  Result<std::string> finish() {
    if (!encoder_) {
      return invalid_argument("`input` has nothing that the model would say.").with_param("input");
    }
    TUTTI_ASSIGN_OR_RETURN(std::string bytes, encoder_->append(stretch_->finish()));
    TUTTI_ASSIGN_OR_RETURN(const std::string rest, encoder_->finish());
    return bytes + rest;
  }

 private:
  const AudioFormat format_;
  const double speed_;
  std::unique_ptr<AudioEncoder> encoder_;
  std::unique_ptr<TimeStretch> stretch_;
};

// The file itself as a chunked body.
class SpeechBody {
 public:
  SpeechBody(const SpeechRequest& speech, HttpReplyPtr reply)
      : bytes_(speech.format, speech.speed), format_(speech.format), reply_(std::move(reply)) {}

  void delta(const OutputMessage& message) { send(bytes_.append(message.output.audio)); }
  void done(const Status& status) {
    if (!status.ok()) return fail(status);
    send(bytes_.finish());
    if (!failed_) reply_->end();
  }

 private:
  void send(Result<std::string> bytes) {
    if (failed_) return;
    if (!bytes) return fail(bytes.error());
    if (bytes->empty()) return;
    if (!std::exchange(begun_, true)) {
      reply_->begin({.status = 200,
                     .content_type = std::string(audio_content_type(format_)),
                     .body = "",
                     .headers = {}});
    }
    if (!reply_->write(*bytes)) failed_ = true;
  }
  // After the head an error can only break the body off.
  void fail(const Status& status) {
    if (std::exchange(failed_, true)) return;
    if (begun_) {
      reply_->break_off();
    } else {
      reply_->send(error_response(status));
    }
  }

  SpeechBytes bytes_;
  const AudioFormat format_;
  const HttpReplyPtr reply_;
  bool begun_ = false;
  bool failed_ = false;
};

// speech.audio.delta and speech.audio.done.
class SpeechEvents {
 public:
  SpeechEvents(const SpeechRequest& speech, const ModelInfo& model)
      : bytes_(speech.format, speech.speed), model_(model) {}
  void open(std::shared_ptr<EventStream> stream) { stream_ = std::move(stream); }

  void delta(const OutputMessage& message) { send(bytes_.append(message.output.audio)); }
  void done(const Status& status, const Answer& answer) {
    if (!status.ok()) return stream_->fail(status);
    send(bytes_.finish());
    Usage usage;
    usage.add(answer, model_);
    stream_->send(json::serialize(
        json::object{{"type", "speech.audio.done"},
                     {"usage",
                      {{"input_tokens", usage.prompt_tokens},
                       {"output_tokens", usage.audio_tokens},
                       {"total_tokens", usage.prompt_tokens + usage.audio_tokens}}}}));
    stream_->end();
  }

 private:
  void send(Result<std::string> bytes) {
    if (!bytes) return stream_->fail(bytes.error());
    if (bytes->empty()) return;
    std::string event = R"({"type":"speech.audio.delta","audio":")";
    append_base64(event, std::as_bytes(std::span(*bytes)));
    stream_->send(event + "\"}");
  }

  SpeechBytes bytes_;
  const ModelInfo& model_;
  std::shared_ptr<EventStream> stream_;
};

}  // namespace

void handle_speech(const Services& services, HttpRequest http, HttpReplyPtr reply) {
  const Result<SpeechRequest> speech = read_speech(services.model, http);
  if (!speech) return reply->send(error_response(speech.error()));
  const std::string id = new_id("speech");
  AddRequest request = to_request(services.model, *speech, id);
  request.trace_headers = trace_headers(http);
  const auto abandoned = [&gateway = services.gateway, id] { gateway.abort(id); };
  std::shared_ptr<TextAnswer> sink;
  if (speech->events) {
    auto events = std::make_shared<SpeechEvents>(*speech, services.model);
    events->open(EventStream::create(id, std::move(reply), nullptr, abandoned));
    sink = std::make_shared<TextAnswer>(
        services, [events](const OutputMessage& m) { events->delta(m); },
        [events](const Status& status, const Answer& answer) { events->done(status, answer); });
  } else {
    reply->on_disconnect(abandoned);
    auto body = std::make_shared<SpeechBody>(*speech, std::move(reply));
    sink = std::make_shared<TextAnswer>(
        services, [body](const OutputMessage& m) { body->delta(m); },
        [body](const Status& status, const Answer&) { body->done(status); });
  }
  services.gateway.submit(std::move(request), std::move(sink));
}

void handle_voices(const Services& services, HttpRequest, HttpReplyPtr reply) {
  json::array voices;
  for (const std::string& voice : services.model.engine().voices()) voices.emplace_back(voice);
  reply->send({.status = 200,
               .content_type = "application/json",
               .body = json::serialize(json::object{{"voices", std::move(voices)}}),
               .headers = {}});
}

}  // namespace tutti::serve
