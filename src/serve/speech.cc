#include "serve/speech.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "media/audio_encoder.h"
#include "media/time_stretch.h"
#include "serve/api_error.h"
#include "serve/chat_request.h"
#include "serve/fields.h"
#include "serve/json_text.h"
#include "serve/sentences.h"
#include "serve/text_answer.h"
#include "serve/voice_field.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

constexpr size_t kMostInput = 4096;  // characters, OpenAI's limit
// Of a sentence; a talker is trained on answers of some seconds.
constexpr size_t kMostSentence = 300;  // bytes

// Of UTF-8.
size_t num_characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

struct SpeechRequest {
  std::string model;
  std::string input;
  std::vector<std::string> sentences;  // of the input, never empty
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
  speech.sentences = sentences(speech.input, kMostSentence);
  if (error.ok() && speech.sentences.empty())
    fields.missing("input", "the text to read, not empty");
  if (const size_t length = num_characters(speech.input); error.ok() && length > kMostInput) {
    fields.fail("input", fmt::format("`input` has {} characters; at most {} are read at once.",
                                     length, kMostInput));
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

// The sentence's own tokens are forced on the thinker: a voice reads what is written, and not what
// a model would answer.
Result<AddRequest> to_request(const ModelInfo& model, const SpeechRequest& speech, size_t sentence,
                              std::string id) {
  const std::string& text = speech.sentences[sentence];
  TUTTI_ASSIGN_OR_RETURN(std::vector<int32_t> tokens,
                         model.engine().input_processor()->prompt_token_ids(TextPrompt{text}));
  ChatPrompt prompt;
  if (!speech.instructions.empty()) {
    prompt.messages.push_back(ChatMessage::text("system", speech.instructions));
  }
  prompt.messages.push_back(ChatMessage::text("user", "Read aloud: " + text));
  AddRequest request;
  request.request_id = std::move(id);
  request.prompt = std::move(prompt);
  request.prompt_text = text;
  request.lora_request = model.adapter(speech.model);
  request.voice = speech.voice;
  request.final_output_stage_ids = {model.text_stage(), model.audio_stage()};
  request.sampling_params_list = model.engine().default_sampling_params_list();
  for (SamplingParams& params : request.sampling_params_list) params.seed = speech.seed;
  SamplingParams& thinker = request.sampling_params_list[static_cast<size_t>(model.text_stage())];
  thinker.max_tokens = static_cast<int32_t>(tokens.size());
  thinker.min_tokens = 0;
  thinker.stop.clear();
  thinker.stop_token_ids.clear();
  thinker.forced_token_ids = std::move(tokens);
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
  void done(const Status& status, const Usage&) {
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
  explicit SpeechEvents(const SpeechRequest& speech) : bytes_(speech.format, speech.speed) {}
  void open(std::shared_ptr<EventStream> stream) { stream_ = std::move(stream); }

  void delta(const OutputMessage& message) { send(bytes_.append(message.output.audio)); }
  void done(const Status& status, const Usage& usage) {
    if (!status.ok()) return stream_->fail(status);
    send(bytes_.finish());
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
  std::shared_ptr<EventStream> stream_;
};

// Reads the sentences one after the other, each as a request of its own.
//
// Thread: begin() once; then the gateway's thread. abandon() from any thread.
class Reading : public std::enable_shared_from_this<Reading> {
 public:
  using Delta = std::function<void(const OutputMessage&)>;
  using Done = std::function<void(const Status&, const Usage&)>;
  Reading(const Services& services, SpeechRequest speech, std::map<std::string, std::string> trace)
      : services_(services), speech_(std::move(speech)), trace_(std::move(trace)) {}

  const std::string& id() const { return id_; }
  const SpeechRequest& speech() const { return speech_; }
  void begin(Delta delta, Done done) {
    delta_ = std::move(delta);
    done_ = std::move(done);
    next();
  }
  // Nobody listens any more.
  void abandon() {
    std::string running;
    {
      const std::lock_guard lock(mutex_);
      abandoned_ = true;
      running = running_;
    }
    if (!running.empty()) services_.gateway.abort(running);
  }

 private:
  void next() {
    const std::string id = fmt::format("{}-{}", id_, sentence_);
    // finish() may call abandon(), so it comes without the lock.
    if (!set_running(id)) return finish({StatusCode::kAborted, "Nobody listens any more."});
    Result<AddRequest> request = to_request(services_.model, speech_, sentence_, id);
    if (!request) return finish(request.error());
    request->trace_headers = trace_;
    auto self = shared_from_this();
    services_.gateway.submit(
        std::move(request).value(),
        std::make_shared<TextAnswer>(
            services_, [self](const OutputMessage& message) { self->delta_(message); },
            [self](const Status& status, const Answer& answer) { self->ended(status, answer); }));
    // Who left in between aborted a request that was not there yet.
    if (is_abandoned()) services_.gateway.abort(id);
  }
  bool is_abandoned() {
    const std::lock_guard lock(mutex_);
    return abandoned_;
  }
  // False when nobody listens any more.
  bool set_running(const std::string& id) {
    const std::lock_guard lock(mutex_);
    if (!abandoned_) running_ = id;
    return !abandoned_;
  }
  void ended(const Status& status, const Answer& answer) {
    usage_.add(answer, services_.model);
    if (!status.ok() || ++sentence_ == speech_.sentences.size()) return finish(status);
    next();
  }
  // Lets go of who listens, who holds this.
  void finish(const Status& status) {
    const Done done = std::exchange(done_, nullptr);
    delta_ = nullptr;
    done(status, usage_);
  }

  const Services services_;
  const SpeechRequest speech_;
  const std::map<std::string, std::string> trace_;
  const std::string id_ = new_id("speech");
  Delta delta_;
  Done done_;
  size_t sentence_ = 0;
  Usage usage_;
  std::mutex mutex_;
  bool abandoned_ = false;
  std::string running_;  // the request of the current sentence
};

}  // namespace

void handle_speech(const Services& services, HttpRequest http, HttpReplyPtr reply) {
  Result<SpeechRequest> read = read_speech(services.model, http);
  if (!read) return reply->send(error_response(read.error()));
  auto reading = std::make_shared<Reading>(services, std::move(read).value(), trace_headers(http));
  const auto abandoned = [reading] { reading->abandon(); };
  const SpeechRequest& speech = reading->speech();
  if (speech.events) {
    auto events = std::make_shared<SpeechEvents>(speech);
    events->open(EventStream::create(reading->id(), std::move(reply), nullptr, abandoned));
    reading->begin([events](const OutputMessage& m) { events->delta(m); },
                   [events](const Status& s, const Usage& usage) { events->done(s, usage); });
  } else {
    reply->on_disconnect(abandoned);
    auto body = std::make_shared<SpeechBody>(speech, std::move(reply));
    reading->begin([body](const OutputMessage& m) { body->delta(m); },
                   [body](const Status& s, const Usage& usage) { body->done(s, usage); });
  }
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
