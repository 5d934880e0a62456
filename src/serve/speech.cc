#include "serve/speech.h"

#include <boost/json.hpp>

#include "serve/api_error.h"
#include "serve/chat_request.h"
#include "serve/reading.h"
#include "serve/speech_output.h"
#include "serve/speech_request.h"

namespace tutti::serve {

namespace json = boost::json;

void handle_speech(const Services& services, HttpRequest http, HttpReplyPtr reply) {
  Result<SpeechRequest> read = read_speech(services.model, http);
  if (!read) return reply->send(error_response(read.error()));
  auto reading = std::make_shared<Reading>(services, std::move(read).value(), trace_headers(http));
  const auto abandoned = [reading] { reading->abandon(); };
  const SpeechRequest& speech = reading->speech();
  if (speech.events) {
    auto events = std::make_shared<SpeechEvents>(
        speech, EventStream::create(reading->id(), std::move(reply), nullptr, abandoned));
    reading->begin([events](const OutputMessage& m) { events->delta(m); },
                   [events](const Status& s, const Usage& usage) { events->done(s, usage); });
  } else {
    reply->on_disconnect(abandoned);
    auto body = std::make_shared<SpeechBody>(speech, std::move(reply));
    reading->begin([body](const OutputMessage& m) { body->delta(m); },
                   [body](const Status& s, const Usage&) { body->done(s); });
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
