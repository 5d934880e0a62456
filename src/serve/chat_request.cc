#include "serve/chat_request.h"

#include <fmt/format.h>

#include "serve/api_error.h"
#include "serve/fields.h"
#include "serve/model_field.h"
#include "serve/sampling_fields.h"
#include "serve/tools_field.h"
#include "serve/voice_field.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

void read_stream_options(Fields& fields, ChatRequest& chat) {
  chat.stream = fields.boolean("stream").value_or(false);
  const json::object* object = fields.object("stream_options");
  if (!object) return;
  Fields options(*object, "stream_options", fields.error());
  chat.include_usage = options.boolean("include_usage").value_or(false);
  chat.resumable_stream = options.boolean("resumable").value_or(false);
  options.accept({"include_obfuscation", "continuous_usage_stats"});
  if (fields.ok()) options.finish();
  if (fields.ok() && !chat.stream) {
    fields.fail("stream_options", "`stream_options` is given; it is for `stream: true` alone.");
  }
}

void read_tokens_limits(Fields& fields, SamplingParams& params) {
  constexpr int64_t kMany = 1 << 24;
  auto most = fields.integer("max_completion_tokens", 1, kMany);
  const auto legacy = fields.integer("max_tokens", 1, kMany);
  if (!most) most = legacy;
  if (most) params.max_tokens = static_cast<int32_t>(*most);
}

void read_logprobs(Fields& fields, ChatRequest& chat, SamplingParams& params) {
  chat.logprobs = fields.boolean("logprobs").value_or(false);
  const auto top = fields.integer("top_logprobs", 0, 20);
  if (top && !chat.logprobs) {
    fields.fail("top_logprobs", "`top_logprobs` is given; it needs `logprobs: true`.");
  }
  if (chat.logprobs) params.logprobs = static_cast<int32_t>(top.value_or(0));
}

void read_modalities(Fields& fields, const ModelInfo& model, ChatRequest& chat) {
  std::vector<std::string> modalities = fields.strings("modalities");
  if (modalities.empty()) modalities = {"text"};
  for (const std::string& modality : modalities) {
    if (modality == "audio") {
      chat.speech = true;
    } else if (modality != "text") {
      return fields.fail(
          "modalities",
          fmt::format("`modalities` has '{}'; text and audio are allowed.", printable(modality)));
    }
  }
  const json::object* audio = fields.object("audio");
  if (!chat.speech) {
    if (audio) fields.fail("audio", "`audio` is given; it needs 'audio' in `modalities`.");
    chat.request.final_output_stage_ids = {model.text_stage()};
    return;
  }
  if (model.audio_stage() < 0) {
    return fields.fail("modalities", "`modalities` has 'audio'; this model does not speak.");
  }
  chat.request.final_output_stage_ids = {model.text_stage(), model.audio_stage()};
  chat.audio_format = chat.stream ? AudioFormat::kPcm16 : AudioFormat::kWav;
  if (!audio) return;
  Fields options(*audio, "audio", fields.error());
  chat.request.voice = read_voice(options, model).value_or("");
  if (const auto format = options.string("format")) {
    const auto known = audio_format(*format);
    if (!known) {
      return options.fail("format", fmt::format("`audio.format` is '{}'; it must be {}.",
                                                printable(*format), audio_format_names()));
    }
    chat.audio_format = *known;
  }
  if (fields.ok()) options.finish();
  if (fields.ok() && chat.stream && chat.audio_format != AudioFormat::kPcm16) {
    options.fail("format", "`audio.format` of a streamed answer must be pcm16.");
  }
}

void read_stage_metrics(Fields& fields, ChatRequest& chat) {
  constexpr const char* kField = "return_stage_metrics";
  const json::value* value = fields.any(kField);
  if (!value) return;
  const auto* text = value->if_string();
  chat.live_stage_metrics = text && *text == "live";
  if (chat.live_stage_metrics || value->is_bool()) {
    chat.return_stage_metrics = chat.live_stage_metrics || value->get_bool();
    return;
  }
  const std::string found =
      text ? fmt::format("'{}'", printable(*text)) : std::string(json_kind(*value));
  fields.fail(kField, fmt::format("`{}` is {}; it must be true, false or 'live'.", kField, found));
}

void read_extensions(Fields& fields, ChatRequest& chat, ChatPrompt& prompt) {
  read_stage_metrics(fields, chat);
  const auto shape = fields.choice("audio_delta_format", {"openai", "vllm"});
  chat.vllm_audio_delta = shape && *shape == "vllm";
  if (const json::object* kwargs = fields.object("chat_template_kwargs")) {
    prompt.template_kwargs_json = json::serialize(*kwargs);
  }
  read_prompt_end(fields, prompt);
  // vLLM: the last message's text comes first, where the answer is of the same role.
  if (fields.boolean("echo").value_or(false) && fields.ok() &&
      prompt.messages.back().role == "assistant") {
    for (const ContentPart& part : prompt.messages.back().content) chat.echo += part.text;
  }
  if (const json::object* kwargs = fields.object("mm_processor_kwargs")) {
    Fields media(*kwargs, "mm_processor_kwargs", fields.error());
    prompt.use_audio_in_video = media.boolean("use_audio_in_video").value_or(false);
    if (fields.ok()) media.finish();
  }
  if (const auto priority = fields.integer("priority", -1 << 20, 1 << 20)) {
    chat.request.priority = static_cast<int32_t>(*priority);
  }
  if (const json::object* format = fields.object("response_format")) {
    Fields kind(*format, "response_format", fields.error());
    const auto type = kind.choice("type", {"text"});
    (void)type;
  }
}

}  // namespace

std::map<std::string, std::string> trace_headers(const HttpRequest& http) {
  std::map<std::string, std::string> out;
  for (const char* name : {"traceparent", "tracestate"}) {
    if (const std::string_view value = http.header(name); !value.empty()) out[name] = value;
  }
  return out;
}

Result<ChatRequest> read_chat_request(const ModelInfo& model, const HttpRequest& http,
                                      const TranscriptLookup& transcript) {
  TUTTI_ASSIGN_OR_RETURN(const json::object body,
                         parse_json_body(http.header("content-type"), http.body));
  Status error;
  Fields fields(body, "", &error);
  ChatRequest chat;
  ChatPrompt prompt;
  chat.model = read_model(fields, model);
  if (error.ok()) prompt.messages = read_chat_messages(fields, transcript);
  std::vector<SamplingParams> params = model.engine().default_sampling_params_list();
  read_sampling_params_list(fields, params);
  read_sampling_fields(fields, params);
  read_tokens_limits(fields, params.front());
  read_logprobs(fields, chat, params.front());
  read_stream_options(fields, chat);
  read_modalities(fields, model, chat);
  read_tools(fields, ToolShape::kNested, prompt);
  read_extensions(fields, chat, prompt);
  chat.n = static_cast<int32_t>(fields.integer("n", 1, 16).value_or(1));
  // Known to OpenAI's API, without a meaning here.
  fields.accept({"user", "store", "metadata", "service_tier", "prediction", "safety_identifier",
                 "prompt_cache_key", "reasoning_effort", "verbosity", "web_search_options"});
  if (error.ok()) fields.finish();
  if (!error.ok()) return error;
  chat.request.prompt = std::move(prompt);
  chat.request.sampling_params_list = std::move(params);
  chat.request.lora_request = model.adapter(chat.model);
  chat.request.trace_headers = trace_headers(http);
  return chat;
}

}  // namespace tutti::serve
