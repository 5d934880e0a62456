#include "serve/responses.h"

#include <fmt/format.h>

#include <ctime>

#include "serve/api_error.h"
#include "serve/api_key.h"
#include "serve/chat_messages.h"
#include "serve/chat_request.h"
#include "serve/sampling_fields.h"
#include "serve/text_answer.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

struct ResponseRequest {
  std::string owner;  // the API key
  std::string model;
  std::vector<ChatMessage> history;  // without instructions, which do not carry over
  std::string instructions;
  json::value previous = nullptr;
  json::value metadata = json::object();
  json::value max_output_tokens = nullptr;
  json::array tools;
  size_t before = 0;  // messages of the prompt that are not of `input`
  double temperature = 0;
  double top_p = 1;
  bool stream = false;
  bool store = true;
  AddRequest request;
};

// `input`: a string, or an array of messages.
void read_input(Fields& fields, ResponseRequest& out) {
  const json::value* input = fields.any("input");
  if (!input) return fields.missing("input", "a string or an array of messages");
  if (const auto* text = input->if_string()) {
    out.history.push_back(ChatMessage::text("user", std::string(*text)));
    return;
  }
  if (!input->is_array() || input->get_array().empty()) {
    return fields.fail("input", "`input` must be a string or an array with at least one message.");
  }
  for (ChatMessage& message : read_chat_messages(
           fields, [](const std::string&) { return std::optional<std::string>(); }, "input")) {
    out.history.push_back(std::move(message));
  }
}

void read_text_format(Fields& fields) {
  const json::object* text = fields.object("text");
  if (!text) return;
  Fields options(*text, "text", fields.error());
  options.accept({"verbosity"});
  const json::object* format = options.object("format");
  if (!format) return;
  Fields kind(*format, "text.format", fields.error());
  (void)kind.choice("type", {"text"});
}

Result<ResponseRequest> read_response(const Services& services, const ResponseStore& store,
                                      const HttpRequest& http) {
  TUTTI_ASSIGN_OR_RETURN(const json::object body,
                         parse_json_body(http.header("content-type"), http.body));
  const ModelInfo& model = services.model;
  Status error;
  Fields fields(body, "", &error);
  ResponseRequest out;
  out.owner = api_key_of(http);
  out.model = fields.string("model").value_or(model.name());
  if (error.ok()) error = model.check_model(out.model);
  if (const auto previous = fields.string("previous_response_id")) {
    if (const auto found = store.get(*previous, out.owner)) {
      out.history = (*found)->messages;
      out.before = out.history.size();
      out.previous = json::value(*previous);
    } else {
      error = Status(found.error()).with_param("previous_response_id");
    }
  }
  read_input(fields, out);
  out.instructions = fields.string("instructions").value_or("");
  out.stream = fields.boolean("stream").value_or(false);
  out.store = fields.boolean("store").value_or(true);
  if (const json::object* metadata = fields.object("metadata")) out.metadata = *metadata;
  std::vector<SamplingParams> params = model.engine().default_sampling_params_list();
  read_sampling_fields(fields, params);
  if (const auto most = fields.integer("max_output_tokens", 1, 1 << 24)) {
    params.front().max_tokens = static_cast<int32_t>(*most);
    out.max_output_tokens = *most;
  }
  read_text_format(fields);
  ChatPrompt prompt;
  if (const json::array* tools = fields.objects("tools"); tools && !tools->empty()) {
    prompt.tools_json = json::serialize(*tools);
    out.tools = *tools;
  }
  fields.accept({"user", "service_tier", "truncation", "include", "parallel_tool_calls",
                 "tool_choice", "reasoning", "safety_identifier", "prompt_cache_key",
                 "stream_options", "top_logprobs", "max_tool_calls", "background"});
  if (error.ok()) fields.finish();
  if (!error.ok()) return error;
  if (!out.instructions.empty()) {
    prompt.messages.push_back(ChatMessage::text("system", out.instructions));
    ++out.before;
  }
  prompt.messages.insert(prompt.messages.end(), out.history.begin(), out.history.end());
  out.temperature = params.front().temperature;
  out.top_p = params.front().top_p;
  out.request.prompt = std::move(prompt);
  out.request.sampling_params_list = std::move(params);
  out.request.lora_request = model.adapter(out.model);
  out.request.final_output_stage_ids = {model.text_stage()};
  out.request.trace_headers = trace_headers(http);
  return out;
}

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
            {"parallel_tool_calls", true},
            {"previous_response_id", request_.previous},
            {"tools", request_.tools},
            {"tool_choice", "auto"},
            {"temperature", request_.temperature},
            {"top_p", request_.top_p},
            {"max_output_tokens", request_.max_output_tokens},
            {"metadata", request_.metadata}};
  }

  static json::object text_part(const std::string& text) {
    return {{"type", "output_text"}, {"text", text}, {"annotations", json::array()}};
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
    if (!stream_ || message.output.text.empty()) return;
    begin();
    event(at({{"type", "response.output_text.delta"},
              {"delta", message.output.text},
              {"logprobs", json::array()}}));
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
    response["output"] =
        json::array{item(cut ? "incomplete" : "completed", {text_part(answer.text)})};
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
    event(at({{"type", "response.output_text.done"},
              {"text", answer.text},
              {"logprobs", json::array()}}));
    event(at({{"type", "response.content_part.done"}, {"part", text_part(answer.text)}}));
    event({{"type", "response.output_item.done"},
           {"output_index", 0},
           {"item", item(cut ? "incomplete" : "completed", {text_part(answer.text)})}});
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
  bool begun_ = false;
  int64_t sequence_ = 0;
};

}  // namespace

void handle_responses(const Services& services, ResponseStore& store, HttpRequest http,
                      HttpReplyPtr reply) {
  Result<ResponseRequest> request = read_response(services, store, http);
  if (!request) return reply->send(error_response(request.error()));
  std::make_shared<ResponseRun>(services, store, std::move(*request), new_id("resp"))
      ->start(std::move(reply));
}

void handle_get_response(ResponseStore& store, HttpRequest request, HttpReplyPtr reply) {
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
