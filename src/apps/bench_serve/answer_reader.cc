#include "apps/bench_serve/answer_reader.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "apps/bench_serve/pcm_reader.h"
#include "apps/bench_serve/sse_parser.h"
#include "base/strings.h"
#include "media/data_url.h"

namespace tutti::bench {

namespace json = boost::json;

namespace {

constexpr int32_t kOpenAiRate = 24000;  // Hz of OpenAI's PCM

const json::object* object_at(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value ? value->if_object() : nullptr;
}

std::string_view string_at(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  const json::string* text = value ? value->if_string() : nullptr;
  return text ? std::string_view(*text) : std::string_view();
}

int64_t integer_at(const json::object& object, std::string_view name, int64_t otherwise) {
  const json::value* value = object.if_contains(name);
  const int64_t* number = value ? value->if_int64() : nullptr;
  return number ? *number : otherwise;
}

Status server_error(std::string_view sentence) {
  return internal_error(fmt::format("The server said: {}", sentence));
}

// Sound that comes as base64 in events.
class Base64Sound {
 public:
  Status take(std::string_view base64, int32_t sample_rate, double now_s, Measurement& m) {
    TUTTI_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, decode_base64(base64));
    const std::string_view view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    // Each chunk may be a file of its own; bare samples go on from chunk to chunk.
    if (!reader_ || view.starts_with("RIFF")) reader_.emplace(sample_rate);
    TUTTI_ASSIGN_OR_RETURN(const std::span<const float> samples, reader_->append(view));
    m.audio(now_s, samples, reader_->sample_rate());
    return {};
  }

 private:
  std::optional<PcmReader> reader_;
};

// Chunks of chat completions and completions, and speech events.
class EventsReader final : public AnswerReader {
 public:
  Status feed(std::string_view bytes, double now_s, Measurement& m) override {
    Status first;
    TUTTI_RETURN_IF_ERROR(parser_.feed(bytes, [&](std::string_view, std::string_view data) {
      if (first.ok()) first = event(data, now_s, m);
    }));
    return first;
  }

 private:
  Status event(std::string_view data, double now_s, Measurement& m) {
    if (data == "[DONE]") return {};
    boost::system::error_code bad;
    const json::value value = json::parse(data, bad);
    const json::object* chunk = bad ? nullptr : value.if_object();
    if (!chunk) return invalid_argument("An event of the stream is no JSON object.");
    if (const json::value* error = chunk->if_contains("error"); error && !error->is_null()) {
      return server_error(error_sentence(data));
    }
    if (const json::object* usage = object_at(*chunk, "usage")) take_usage(*usage, m);
    if (string_at(*chunk, "type") == "speech.audio.delta") {
      return sound_.take(string_at(*chunk, "audio"), kOpenAiRate, now_s, m);
    }
    const json::value* choices = chunk->if_contains("choices");
    if (!choices || !choices->is_array()) return {};
    for (const json::value& choice : choices->get_array()) {
      if (choice.is_object())
        TUTTI_RETURN_IF_ERROR(take_choice(*chunk, choice.get_object(), now_s, m));
    }
    return {};
  }

  Status take_choice(const json::object& chunk, const json::object& choice, double now_s,
                     Measurement& m) {
    if (!string_at(choice, "text").empty()) m.text(now_s);  // completions
    const json::object* delta = object_at(choice, "delta");
    if (!delta) return {};
    const std::string_view content = string_at(*delta, "content");
    if (string_at(chunk, "modality") == "audio") {
      // vLLM-Omni puts the sound where the text goes.
      const auto rate = static_cast<int32_t>(integer_at(chunk, "sample_rate", kOpenAiRate));
      return content.empty() ? Status() : sound_.take(content, rate, now_s, m);
    }
    const json::object* audio = object_at(*delta, "audio");
    const bool words = !content.empty() || !string_at(*delta, "reasoning_content").empty() ||
                       (audio && !string_at(*audio, "transcript").empty());
    if (words) m.text(now_s);
    const std::string_view data = audio ? string_at(*audio, "data") : "";
    return data.empty() ? Status() : sound_.take(data, kOpenAiRate, now_s, m);
  }

  // Tokens of text; the server may count those of sound among them.
  static void take_usage(const json::object& usage, Measurement& m) {
    int64_t output = integer_at(usage, "completion_tokens", -1);
    if (const json::object* details = object_at(usage, "completion_tokens_details")) {
      output -= integer_at(*details, "audio_tokens", 0);
    }
    m.usage(integer_at(usage, "prompt_tokens", integer_at(usage, "input_tokens", -1)), output);
  }

  SseParser parser_;
  Base64Sound sound_;
};

// A sound file as the body.
class SoundReader final : public AnswerReader {
 public:
  Status feed(std::string_view bytes, double now_s, Measurement& m) override {
    TUTTI_ASSIGN_OR_RETURN(const std::span<const float> samples, reader_.append(bytes));
    m.audio(now_s, samples, reader_.sample_rate());
    return {};
  }

 private:
  PcmReader reader_{kOpenAiRate};
};

}  // namespace

Result<std::unique_ptr<AnswerReader>> make_answer_reader(std::string_view content_type) {
  std::string type = ascii_lower(content_type.substr(0, content_type.find(';')));
  while (type.ends_with(' ')) type.pop_back();
  if (type == "text/event-stream") {
    return std::unique_ptr<AnswerReader>(std::make_unique<EventsReader>());
  }
  for (const char* known :
       {"audio/pcm", "audio/wav", "audio/x-wav", "audio/l16", "application/octet-stream"}) {
    if (type == known) return std::unique_ptr<AnswerReader>(std::make_unique<SoundReader>());
  }
  return invalid_argument(fmt::format(
      "The answer is of type '{}'; an event stream, PCM or WAV can be measured.", type));
}

std::string error_sentence(std::string_view body) {
  boost::system::error_code bad;
  const json::value value = json::parse(body, bad);
  if (const json::object* object = bad ? nullptr : value.if_object()) {
    const json::object* error = object_at(*object, "error");
    for (const json::object* place : {error, object}) {
      if (place && !string_at(*place, "message").empty()) {
        return std::string(string_at(*place, "message"));
      }
    }
  }
  constexpr size_t kMost = 200;
  const std::string_view head = body.substr(0, kMost);
  return std::string(head.substr(0, utf8_complete_prefix(head)));
}

struct RealtimeReader::Impl {
  Base64Sound sound;
};

RealtimeReader::RealtimeReader() : impl_(std::make_unique<Impl>()) {}
RealtimeReader::~RealtimeReader() = default;

Result<RealtimeReader::Event> RealtimeReader::read(std::string_view message, double now_s,
                                                   Measurement& m) {
  boost::system::error_code bad;
  const json::value value = json::parse(message, bad);
  const json::object* event = bad ? nullptr : value.if_object();
  if (!event) return invalid_argument("An event of the socket is no JSON object.");
  const std::string_view type = string_at(*event, "type");
  if (type == "error") return server_error(error_sentence(message));
  if (type == "session.updated") return Event::kSessionUpdated;
  // OpenAI's names, and those of its first version.
  if (type == "response.output_audio.delta" || type == "response.audio.delta") {
    TUTTI_RETURN_IF_ERROR(impl_->sound.take(string_at(*event, "delta"), kOpenAiRate, now_s, m));
  } else if (type == "response.output_audio_transcript.delta" ||
             type == "response.audio_transcript.delta" || type == "response.output_text.delta" ||
             type == "response.text.delta") {
    m.text(now_s);
  } else if (type == "response.done") {
    const json::object* response = object_at(*event, "response");
    const std::string_view status = response ? string_at(*response, "status") : "";
    if (status != "completed" && status != "incomplete") {
      const json::object* details = response ? object_at(*response, "status_details") : nullptr;
      return server_error(details ? error_sentence(json::serialize(*details))
                                  : fmt::format("the response is {}", status));
    }
    if (const json::object* usage = object_at(*response, "usage")) {
      const json::object* output = object_at(*usage, "output_token_details");
      m.usage(integer_at(*usage, "input_tokens", -1),
              output ? integer_at(*output, "text_tokens", -1) : -1);
    }
    return Event::kDone;
  }
  return Event::kOther;
}

}  // namespace tutti::bench
