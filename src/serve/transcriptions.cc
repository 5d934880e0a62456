#include "serve/transcriptions.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>

#include "serve/api_error.h"
#include "serve/chat_request.h"
#include "serve/json_text.h"
#include "serve/multipart.h"
#include "serve/text_answer.h"
#include "serve/transcription_request.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

struct TranscriptionRequest {
  std::shared_ptr<const std::vector<std::byte>> file;
  std::string model;
  std::string format = "json";
  std::string prompt;
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
      if (value != "json" && value != "text" && value != "verbose_json") {
        return refuse(part.name, fmt::format("`response_format` is '{}'; it must be json, text or "
                                             "verbose_json.",
                                             printable(value)));
      }
      out.format = value;
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
    } else if (part.name != "language" && part.name != "include[]" &&
               part.name != "timestamp_granularities[]" && part.name != "chunking_strategy") {
      return refuse(part.name,
                    fmt::format("The field `{}` is unknown; there are: file, model, language, "
                                "prompt, response_format, temperature, stream.",
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
  if (form.temperature) request.sampling_params_list.front().temperature = *form.temperature;
  return request;
}

HttpResponse transcription_response(const std::string& format, const Answer& answer,
                                    const ModelInfo& model) {
  if (format == "text") {
    return {.status = 200,
            .content_type = "text/plain; charset=utf-8",
            .body = answer.text + "\n",
            .headers = {}};
  }
  Usage usage;
  usage.add(answer, model);
  json::object body{{"text", answer.text},
                    {"usage",
                     {{"type", "tokens"},
                      {"input_tokens", usage.prompt_tokens},
                      {"output_tokens", usage.completion_tokens},
                      {"total_tokens", usage.prompt_tokens + usage.completion_tokens}}}};
  if (format == "verbose_json") {
    body["task"] = "transcribe";
    body["segments"] = json::array();
  }
  return {.status = 200,
          .content_type = "application/json",
          .body = json::serialize(body),
          .headers = {}};
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
          if (!status.ok()) return stream->fail(status);
          std::string event = R"({"type":"transcript.text.done","text":)";
          append_json_string(event, answer.text);
          stream->send(event + "}");
          stream->end();
        });
  } else {
    reply->on_disconnect(abandoned);
    sink = std::make_shared<TextAnswer>(
        services, nullptr,
        [reply, format = form->format, &model = services.model](const Status& status,
                                                                const Answer& answer) {
          reply->send(status.ok() ? transcription_response(format, answer, model)
                                  : error_response(status));
        });
  }
  services.gateway.submit(std::move(request), std::move(sink));
}

}  // namespace tutti::serve
