#include "serve/speech_output.h"

#include <boost/json.hpp>
#include <utility>

#include "serve/api_error.h"
#include "serve/json_text.h"

namespace tutti::serve {

namespace json = boost::json;

Result<std::string> SpeechBytes::append(const AudioChunk& audio) {
  if (audio.samples.empty()) return std::string();
  if (!encoder_) {
    TUTTI_ASSIGN_OR_RETURN(encoder_, AudioEncoder::create(format_, audio.sample_rate, true));
    stretch_ = std::make_unique<TimeStretch>(audio.sample_rate, speed_);
  }
  return encoder_->append(stretch_->append(audio.samples));
}

Result<std::string> SpeechBytes::finish() {
  if (!encoder_) {
    return invalid_argument("`input` has nothing that the model would say.").with_param("input");
  }
  TUTTI_ASSIGN_OR_RETURN(std::string bytes, encoder_->append(stretch_->finish()));
  TUTTI_ASSIGN_OR_RETURN(const std::string rest, encoder_->finish());
  return bytes + rest;
}

void SpeechBody::done(const Status& status) {
  if (!status.ok()) return fail(status);
  send(bytes_.finish());
  if (!failed_) reply_->end();
}

void SpeechBody::send(Result<std::string> bytes) {
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

void SpeechBody::fail(const Status& status) {
  if (std::exchange(failed_, true)) return;
  if (begun_) {
    reply_->break_off();
  } else {
    reply_->send(error_response(status));
  }
}

void SpeechEvents::done(const Status& status, const Usage& usage) {
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

void SpeechEvents::send(Result<std::string> bytes) {
  if (!bytes) return stream_->fail(bytes.error());
  if (bytes->empty()) return;
  std::string event = R"({"type":"speech.audio.delta","audio":")";
  append_base64(event, std::as_bytes(std::span(*bytes)));
  stream_->send(event + "\"}");
}

}  // namespace tutti::serve
