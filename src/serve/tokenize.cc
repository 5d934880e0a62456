#include "serve/tokenize.h"

#include "serve/api_error.h"
#include "serve/chat_messages.h"
#include "serve/fields.h"
#include "serve/json_text.h"
#include "serve/model_field.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

struct TokenizeRequest {
  Prompt prompt;
  bool token_strs = false;
};

Result<TokenizeRequest> read_tokenize(const Services& s, const HttpRequest& http) {
  TUTTI_ASSIGN_OR_RETURN(const json::object body,
                         parse_json_body(http.header("content-type"), http.body));
  Status error;
  Fields fields(body, "", &error);
  read_model(fields, s.model);
  TokenizeRequest out;
  if (const auto text = fields.string("prompt")) {
    out.prompt = TextPrompt{*text};
    if (!fields.boolean("add_special_tokens").value_or(true)) {
      fields.fail("add_special_tokens",
                  "`add_special_tokens` is false; a prompt has the tokens here that it has in a "
                  "request.");
    }
  } else {
    ChatPrompt chat;
    chat.messages =
        read_chat_messages(fields, [&](const std::string& id) { return s.transcripts.get(id); });
    read_prompt_end(fields, chat);
    out.prompt = std::move(chat);
    fields.accept({"add_special_tokens"});  // the template has them all
  }
  out.token_strs = fields.boolean("return_token_strs").value_or(false);
  if (error.ok()) fields.finish();
  if (!error.ok()) return error;
  return out;
}

Status no_tokenizer() {
  return unimplemented("This model takes raw prompts; it has no tokenizer.");
}

}  // namespace

void handle_tokenize(const Services& s, HttpRequest http, HttpReplyPtr reply) {
  const Result<TokenizeRequest> request = read_tokenize(s, http);
  if (!request) return reply->send(error_response(request.error()));
  const InputProcessor* processor = s.model.engine().input_processor();
  if (processor == nullptr) return reply->send(error_response(no_tokenizer()));
  const auto ids = processor->prompt_token_ids(request->prompt);
  if (!ids) return reply->send(error_response(ids.error()));
  json::array tokens(ids->begin(), ids->end());
  json::object body{{"count", ids->size()}, {"tokens", std::move(tokens)}};
  if (request->token_strs) {
    json::array strings;
    for (const int32_t id : *ids) strings.emplace_back(valid_utf8(s.model.token_text(id)));
    body["token_strs"] = std::move(strings);
  }
  reply->send({.status = 200,
               .content_type = "application/json",
               .body = json::serialize(body),
               .headers = {}});
}

void handle_detokenize(const Services& s, HttpRequest http, HttpReplyPtr reply) {
  const Result<json::object> body = parse_json_body(http.header("content-type"), http.body);
  if (!body) return reply->send(error_response(body.error()));
  Status error;
  Fields fields(*body, "", &error);
  read_model(fields, s.model);
  if (!fields.any("tokens")) fields.missing("tokens", "an array of token ids");
  const std::vector<int32_t> ids = fields.integers("tokens");
  if (error.ok()) fields.finish();
  if (!error.ok()) return reply->send(error_response(error));
  const InputProcessor* processor = s.model.engine().input_processor();
  if (processor == nullptr) return reply->send(error_response(no_tokenizer()));
  const auto text = processor->detokenize(ids);
  if (!text) return reply->send(error_response(text.error()));
  std::string answer = R"({"prompt":)";
  append_json_string(answer, *text);
  reply->send(
      {.status = 200, .content_type = "application/json", .body = answer + "}", .headers = {}});
}

}  // namespace tutti::serve
