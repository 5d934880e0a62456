#include "serve/responses.h"

#include <fmt/format.h>

#include <ctime>

#include "serve/api_error.h"
#include "serve/api_key.h"
#include "serve/chat_logprobs.h"
#include "serve/chat_messages.h"
#include "serve/response_request.h"
#include "serve/text_answer.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

class ResponseRun : public std::enable_shared_from_this<ResponseRun> {
 public:
  ResponseRun(const Services& services, ResponseStore& store, ResponseRequest request,
              std::string id)
      : services_(services),
        store_(store),
        request_(std::move(request)),
        id_(std::move(id)),
        item_id_("msg" + id_.substr(id_.find('-'))),
        created_(std::time(nullptr)) {}

  void start(HttpReplyPtr reply) {
    AddRequest request = std::move(request_.request);
    request.request_id = id_;
    const auto abandoned = [&gateway = services_.gateway, id = id_] { gateway.abort(id); };
    if (request_.stream) {
      stream_ = EventStream::create(id_, std::move(reply), nullptr, abandoned);
    } else {
      reply_ = std::move(reply);
      reply_->on_disconnect(abandoned);
    }
    services_.gateway.submit(
        std::move(request),
        std::make_shared<TextAnswer>(
            services_, [self = shared_from_this()](const OutputMessage& m) { self->delta(m); },
            [self = shared_from_this()](const Status& status, const Answer& answer) {
              self->done(status, answer);
            }));
  }

 private:
  json::object object(const char* status) const {
    return {{"id", id_},
            {"object", "response"},
            {"created_at", created_},
            {"status", status},
            {"error", nullptr},
            {"incomplete_details", nullptr},
            {"instructions", request_.instructions.empty() ? json::value(nullptr)
                                                           : json::value(request_.instructions)},
            {"model", request_.model},
            {"output", json::array()},
            {"parallel_tool_calls", request_.parallel_tool_calls},
            {"previous_response_id", request_.previous},
            {"tools", request_.tools},
            {"tool_choice", request_.tool_choice},
            {"temperature", request_.temperature},
            {"top_p", request_.top_p},
            {"max_output_tokens", request_.max_output_tokens},
            {"metadata", request_.metadata}};
  }

  json::object text_part(const std::string& text, json::array logprobs = {}) const {
    return {{"type", "output_text"},
            {"text", text},
            {"annotations", json::array()},
            {"logprobs", std::move(logprobs)}};
  }

  json::array logprobs_of(std::span<const int32_t> ids,
                          const std::vector<std::vector<TokenLogprob>>& rows) const {
    if (!request_.top_logprobs) return {};
    json::object all = chat_logprobs(services_.model, ids, rows, *request_.top_logprobs);
    return std::move(all["content"].as_array());
  }

  json::object item(const char* status, json::array content) const {
    return {{"id", item_id_},
            {"type", "message"},
            {"role", "assistant"},
            {"status", status},
            {"content", std::move(content)}};
  }

  void event(json::object event) {
    event["sequence_number"] = sequence_++;
    const std::string name(event["type"].get_string());
    stream_->send(json::serialize(event), name);
  }

  void begin() {
    if (std::exchange(begun_, true)) return;
    event({{"type", "response.created"}, {"response", object("in_progress")}});
    event({{"type", "response.in_progress"}, {"response", object("in_progress")}});
    event({{"type", "response.output_item.added"},
           {"output_index", 0},
           {"item", item("in_progress", {})}});
    event(at({{"type", "response.content_part.added"}, {"part", text_part("")}}));
  }

  json::object at(json::object event) const {
    event["item_id"] = item_id_;
    event["output_index"] = 0;
    event["content_index"] = 0;
    return event;
  }

  void delta(const OutputMessage& message) {
    if (!stream_) return;
    // Of tokens whose text is not complete yet, they go with the text.
    for (json::value& logprob : logprobs_of(message.output.token_ids, message.output.logprobs))
      held_logprobs_.push_back(std::move(logprob));
    if (message.output.text.empty()) return;
    begin();
    event(at({{"type", "response.output_text.delta"},
              {"delta", message.output.text},
              {"logprobs", std::exchange(held_logprobs_, {})}}));
  }

  void done(const Status& ended, const Answer& answer) {
    const Status status = ended.ok() ? check_not_empty(answer) : ended;
    if (!status.ok()) {
      const Status error = about_field(status, "input", request_.before);
      if (stream_) return stream_->fail(error);
      return reply_->send(error_response(error));
    }
    const bool cut = answer.finish_reason == FinishReason::kLength;
    json::object response = object(cut ? "incomplete" : "completed");
    if (cut) response["incomplete_details"] = json::object{{"reason", "max_output_tokens"}};
    const json::array logprobs = logprobs_of(answer.token_ids, answer.logprobs);
    const json::object part = text_part(answer.text, logprobs);
    const json::object said = item(cut ? "incomplete" : "completed", {part});
    response["output"] = json::array{said};
    Usage usage;
    usage.add(answer, services_.model);
    response["usage"] =
        json::object{{"input_tokens", usage.prompt_tokens},
                     {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
                     {"output_tokens", usage.completion_tokens},
                     {"output_tokens_details", {{"reasoning_tokens", 0}}},
                     {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
    keep(answer, response);
    if (!stream_) {
      return reply_->send({.status = 200,
                           .content_type = "application/json",
                           .body = json::serialize(response),
                           .headers = {}});
    }
    begin();
    event(
        at({{"type", "response.output_text.done"}, {"text", answer.text}, {"logprobs", logprobs}}));
    event(at({{"type", "response.content_part.done"}, {"part", part}}));
    event({{"type", "response.output_item.done"}, {"output_index", 0}, {"item", said}});
    event({{"type", cut ? "response.incomplete" : "response.completed"},
           {"response", std::move(response)}});
    stream_->end();
  }

  void keep(const Answer& answer, const json::object& response) {
    if (!request_.store) return;
    StoredResponse stored{request_.history, json::serialize(response)};
    stored.messages.push_back(ChatMessage::text("assistant", answer.text));
    store_.put(id_, request_.owner, std::move(stored));
  }

  const Services services_;
  ResponseStore& store_;
  ResponseRequest request_;
  const std::string id_;
  const std::string item_id_;
  const std::time_t created_;
  HttpReplyPtr reply_;
  std::shared_ptr<EventStream> stream_;
  json::array held_logprobs_;
  bool begun_ = false;
  int64_t sequence_ = 0;
};

}  // namespace

void handle_responses(const Services& services, ResponseStore& store, HttpRequest http,
                      HttpReplyPtr reply) {
  Result<ResponseRequest> request = read_response_request(services.model, store, http);
  if (!request) return reply->send(error_response(request.error()));
  std::make_shared<ResponseRun>(services, store, std::move(*request), new_id("resp"))
      ->start(std::move(reply));
}

void handle_get_response(ResponseStore& store, HttpRequest request, HttpReplyPtr reply) {
  if (request.query_value("stream").value_or("false") != "false") {
    return reply->send(
        error_response(invalid_argument("`stream` is given; a response that is kept comes whole.")
                           .with_param("stream")));
  }
  const auto found = store.get(request.path_params[0], std::string(api_key_of(request)));
  if (!found) return reply->send(error_response(found.error()));
  reply->send(
      {.status = 200, .content_type = "application/json", .body = (*found)->body, .headers = {}});
}

void handle_delete_response(ResponseStore& store, HttpRequest request, HttpReplyPtr reply) {
  const std::string& id = request.path_params[0];
  const Status status = store.erase(id, std::string(api_key_of(request)));
  if (!status.ok()) return reply->send(error_response(status));
  const json::object body{{"id", id}, {"object", "response.deleted"}, {"deleted", true}};
  reply->send({.status = 200,
               .content_type = "application/json",
               .body = json::serialize(body),
               .headers = {}});
}

}  // namespace tutti::serve
