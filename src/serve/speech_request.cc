#include "serve/speech_request.h"

#include <fmt/format.h>

#include <algorithm>

#include "serve/api_error.h"
#include "serve/fields.h"
#include "serve/json_text.h"
#include "serve/model_field.h"
#include "serve/sentences.h"
#include "serve/voice_field.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

constexpr size_t kMostInput = 4096;  // characters, OpenAI's limit
// Of a sentence; a talker is trained on answers of some seconds.
constexpr size_t kMostSentence = 300;  // bytes

}  // namespace

Result<SpeechRequest> read_speech(const ModelInfo& model, const HttpRequest& http) {
  TUTTI_ASSIGN_OR_RETURN(const json::object body,
                         parse_json_body(http.header("content-type"), http.body));
  Status error;
  Fields fields(body, "", &error);
  SpeechRequest speech;
  speech.model = read_model(fields, model);
  speech.input = fields.string("input").value_or("");
  speech.sentences = sentences(speech.input, kMostSentence);
  if (error.ok() && speech.sentences.empty())
    fields.missing("input", "the text to read, not empty");
  if (const size_t length = num_characters(speech.input); error.ok() && length > kMostInput) {
    fields.fail("input", fmt::format("`input` has {} characters; at most {} are read at once.",
                                     length, kMostInput));
  }
  speech.voice = read_voice(fields, model).value_or("");
  speech.instructions = fields.string("instructions").value_or("");
  speech.speed = fields.number("speed", 0.25, 4).value_or(1);
  if (const auto format = fields.string("response_format")) {
    const auto known = audio_format(*format);
    if (known) {
      speech.format = *known;
    } else {
      fields.fail("response_format", fmt::format("`response_format` is '{}'; it must be {}.",
                                                 printable(*format), audio_format_names()));
    }
  }
  const auto stream = fields.choice("stream_format", {"audio", "sse"});
  speech.events = stream && *stream == "sse";
  if (const auto seed = fields.integer("seed")) speech.seed = static_cast<uint64_t>(*seed);
  if (error.ok()) fields.finish();
  if (!error.ok()) return error;
  if (model.audio_stage() < 0) {
    return invalid_argument("This model does not speak.").with_param("model");
  }
  return speech;
}

Result<AddRequest> sentence_request(const ModelInfo& model, const SpeechRequest& speech,
                                    size_t sentence, std::string id) {
  const std::string& text = speech.sentences[sentence];
  TUTTI_ASSIGN_OR_RETURN(std::vector<int32_t> tokens,
                         model.engine().input_processor()->prompt_token_ids(TextPrompt{text}));
  ChatPrompt prompt;
  if (!speech.instructions.empty()) {
    prompt.messages.push_back(ChatMessage::text("system", speech.instructions));
  }
  prompt.messages.push_back(ChatMessage::text("user", "Read aloud: " + text));
  AddRequest request;
  request.request_id = std::move(id);
  request.prompt = std::move(prompt);
  request.prompt_text = text;
  request.lora_request = model.adapter(speech.model);
  request.voice = speech.voice;
  request.final_output_stage_ids = {model.text_stage(), model.audio_stage()};
  request.sampling_params_list = model.engine().default_sampling_params_list();
  for (SamplingParams& params : request.sampling_params_list) params.seed = speech.seed;
  SamplingParams& thinker = request.sampling_params_list[static_cast<size_t>(model.text_stage())];
  thinker.max_tokens = static_cast<int32_t>(tokens.size());
  thinker.min_tokens = 0;
  thinker.stop.clear();
  thinker.stop_token_ids.clear();
  thinker.forced_token_ids = std::move(tokens);
  return request;
}

}  // namespace tutti::serve
