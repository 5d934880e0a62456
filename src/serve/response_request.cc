#include "serve/response_request.h"

#include <fmt/format.h>

#include "serve/api_error.h"
#include "serve/api_key.h"
#include "serve/chat_messages.h"
#include "serve/chat_request.h"
#include "serve/model_field.h"
#include "serve/sampling_fields.h"
#include "serve/tools_field.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

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

// OpenAI tells log probabilities where `include` asks for them.
void read_logprobs(Fields& fields, ResponseRequest& out, SamplingParams& params) {
  constexpr std::string_view kLogprobs = "message.output_text.logprobs";
  for (const std::string& wanted : fields.strings("include")) {
    if (wanted != kLogprobs) {
      return fields.fail("include", fmt::format("`include` has '{}'; it may have {}.",
                                                printable(wanted), kLogprobs));
    }
    out.top_logprobs = 0;
  }
  const auto top = fields.integer("top_logprobs", 0, 20);
  if (top && !out.top_logprobs) {
    return fields.fail("top_logprobs", fmt::format("`top_logprobs` is given; `include` must have "
                                                   "{} then.",
                                                   kLogprobs));
  }
  if (out.top_logprobs) params.logprobs = out.top_logprobs = static_cast<int32_t>(top.value_or(0));
}

}  // namespace

Result<ResponseRequest> read_response_request(const ModelInfo& model, const ResponseStore& store,
                                              const HttpRequest& http) {
  TUTTI_ASSIGN_OR_RETURN(const json::object body,
                         parse_json_body(http.header("content-type"), http.body));
  Status error;
  Fields fields(body, "", &error);
  ResponseRequest out;
  out.owner = api_key_of(http);
  out.model = read_model(fields, model);
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
  out.tools = read_tools(fields, ToolShape::kFlat, prompt);
  out.tool_choice = fields.string("tool_choice").value_or("auto");
  out.parallel_tool_calls = fields.boolean("parallel_tool_calls").value_or(true);
  read_logprobs(fields, out, params.front());
  if (fields.boolean("background").value_or(false)) {
    fields.fail("background", "`background` is true; answers are made while the client waits.");
  }
  (void)fields.choice("truncation", {"disabled"});
  fields.accept({"user", "service_tier", "reasoning", "safety_identifier", "prompt_cache_key",
                 "stream_options", "max_tool_calls"});
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

}  // namespace tutti::serve
