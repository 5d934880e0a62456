#include "serve/transcriptions.h"

#include <fmt/format.h>

#include <charconv>

#include "media/audio_file.h"
#include "serve/api_error.h"
#include "serve/chat_request.h"
#include "serve/json_text.h"
#include "serve/multipart.h"
#include "serve/text_answer.h"
#include "serve/transcription_format.h"
#include "serve/transcription_request.h"

namespace tutti::serve {
namespace {

struct TranscriptionRequest {
  std::shared_ptr<const std::vector<std::byte>> file;
  std::string model;
  TranscriptionFormat format = TranscriptionFormat::kJson;
  std::string prompt;
  std::string language;
  std::optional<float> temperature;
  bool stream = false;
};

Status refuse(const std::string& name, std::string sentence) {
  return invalid_argument(std::move(sentence)).with_param(name);
}

Result<TranscriptionRequest> read_form(const ModelInfo& model, const HttpRequest& http) {
  TUTTI_ASSIGN_OR_RETURN(const std::vector<FormPart> parts,
                         parse_form(http.header("content-type"), http.body));
  TranscriptionRequest out;
  for (const FormPart& part : parts) {
    const std::string value(part.data.substr(0, 4096));
    if (part.name == "file") {
      const auto bytes = std::as_bytes(std::span(part.data));
      out.file = std::make_shared<std::vector<std::byte>>(bytes.begin(), bytes.end());
    } else if (part.name == "model") {
      TUTTI_RETURN_IF_ERROR(model.check_model(value));
      out.model = value;
    } else if (part.name == "response_format") {
      const auto format = transcription_format(value);
      if (!format) {
        return refuse(part.name, fmt::format("`response_format` is '{}'; it must be {}.",
                                             printable(value), transcription_format_names()));
      }
      out.format = *format;
    } else if (part.name == "temperature") {
      float number = 0;
      const char* end = value.data() + value.size();
      if (std::from_chars(value.data(), end, number).ptr != end || number < 0 || number > 1) {
        return refuse(part.name, fmt::format("`temperature` is '{}'; it must be from 0 to 1.",
                                             printable(value)));
      }
      out.temperature = number;
    } else if (part.name == "stream") {
      if (value != "true" && value != "false") {
        return refuse(part.name, "`stream` must be true or false.");
      }
      out.stream = value == "true";
    } else if (part.name == "prompt") {
      out.prompt = value;
    } else if (part.name == "language") {
      out.language = value;
    } else if (part.name == "timestamp_granularities[]") {
      if (value != "segment") {
        return refuse(part.name, fmt::format("`{}` is '{}'; it must be segment: this model tells "
                                             "no times of words.",
                                             part.name, printable(value)));
      }
    } else if (part.name != "chunking_strategy") {
      return refuse(part.name,
                    fmt::format("The field `{}` is unknown; there are: file, model, language, "
                                "prompt, response_format, temperature, stream, "
                                "timestamp_granularities[], chunking_strategy.",
                                printable(part.name)));
    }
  }
  if (!out.file) return refuse("file", "`file` is missing; it must be a sound file.");
  if (model.text_stage() < 0) return refuse("model", "This model does not write text.");
  return out;
}

AddRequest to_request(const ModelInfo& model, const TranscriptionRequest& form, std::string id) {
  AddRequest request = transcription_request(model, std::move(id), form.file, form.prompt);
  request.lora_request = model.adapter(form.model);
  if (has_times(form.format)) request.sampling_params_list.front().logprobs = 0;
  if (form.temperature) request.sampling_params_list.front().temperature = *form.temperature;
  return request;
}

// The sound is the one thing of the prompt that can be wrong.
Status about_file(const Status& status) {
  const bool is_sound = status.param().starts_with("messages");
  return is_sound ? Status(status).with_param("file") : status;
}

// The length of the sound, in seconds.
Result<double> duration(const std::vector<std::byte>& file) {
  constexpr int32_t kRate = 8000;  // Hz; enough to count
  auto samples = decode_audio(file, kRate);
  if (!samples) return Status(samples.error()).with_context("`file`").with_param("file");
  return static_cast<double>(samples->size()) / kRate;
}

}  // namespace

void handle_transcriptions(const Services& services, HttpRequest http, HttpReplyPtr reply) {
  const Result<TranscriptionRequest> form = read_form(services.model, http);
  if (!form) return reply->send(error_response(form.error()));
  const std::string id = new_id("transcription");
  AddRequest request = to_request(services.model, *form, id);
  request.trace_headers = trace_headers(http);
  const auto abandoned = [&gateway = services.gateway, id] { gateway.abort(id); };
  std::shared_ptr<TextAnswer> sink;
  if (form->stream) {
    auto stream = EventStream::create(id, std::move(reply), nullptr, abandoned);
    sink = std::make_shared<TextAnswer>(
        services,
        [stream](const OutputMessage& m) {
          if (m.output.text.empty()) return;
          std::string event = R"({"type":"transcript.text.delta","delta":)";
          append_json_string(event, m.output.text);
          stream->send(event + "}");
        },
        [stream](const Status& status, const Answer& answer) {
          if (!status.ok()) return stream->fail(about_file(status));
          std::string event = R"({"type":"transcript.text.done","text":)";
          append_json_string(event, answer.text);
          stream->send(event + "}");
          stream->end();
        });
  } else {
    double duration_s = 0;
    if (has_times(form->format)) {
      const Result<double> known = duration(*form->file);
      if (!known) return reply->send(error_response(known.error()));
      duration_s = *known;
    }
    reply->on_disconnect(abandoned);
    const float temperature = request.sampling_params_list.front().temperature;
    sink = std::make_shared<TextAnswer>(
        services, nullptr,
        [reply, duration_s, temperature, format = form->format, language = form->language,
         &model = services.model](const Status& status, const Answer& answer) {
          if (!status.ok()) return reply->send(error_response(about_file(status)));
          Usage usage;
          usage.add(answer, model);
          reply->send(
              transcription_response(format, {answer, duration_s, temperature, language}, usage));
        });
  }
  services.gateway.submit(std::move(request), std::move(sink));
}

}  // namespace tutti::serve
