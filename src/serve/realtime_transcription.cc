#include "serve/realtime_transcription.h"

#include "base/strings.h"
#include "serve/api_error.h"
#include "serve/json_text.h"
#include "serve/text_answer.h"
#include "serve/transcription_request.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

constexpr const char* kEvents = "conversation.item.input_audio_transcription.";

json::object event_of(const char* what, const std::string& item_id) {
  return {{"type", std::string(kEvents) + what}, {"item_id", item_id}, {"content_index", 0}};
}

}  // namespace

void RealtimeTranscription::begin(const std::string& item_id, Sound sound) {
  const std::string id = new_id("transcription");
  AddRequest request = transcription_request(context_.services.model, id, std::move(sound),
                                             context_.settings.transcription_prompt);
  request.trace_headers = context_.trace;
  live_.insert(id);
  auto delta = context_.guarded([this, item_id](const OutputMessage& message) {
    if (message.output.text.empty() || !context_.conversation.find(item_id)) return;
    json::object event = event_of("delta", item_id);
    event["delta"] = valid_utf8(message.output.text);
    context_.events.send(std::move(event));
  });
  auto done = context_.guarded([this, id, item_id](const Status& status, const Answer& answer) {
    end(id, item_id, status, answer);
  });
  context_.services.gateway.submit(
      std::move(request),
      std::make_shared<TextAnswer>(context_.services, std::move(delta), std::move(done)));
}

void RealtimeTranscription::end(const std::string& request_id, const std::string& item_id,
                                const Status& status, const Answer& answer) {
  live_.erase(request_id);
  ConversationItem* item = context_.conversation.find(item_id);
  if (!item) return;
  if (!status.ok()) {
    json::object event = event_of("failed", item_id);
    event["error"] = json::object{{"type", error_type(status.code())},
                                  {"code", ascii_lower(status_code_name(status.code()))},
                                  {"message", status.message()},
                                  {"param", nullptr}};
    return context_.events.send(std::move(event));
  }
  if (!item->content.empty()) item->content.front().text = answer.text;
  json::object event = event_of("completed", item_id);
  event["transcript"] = valid_utf8(answer.text);
  Usage usage;
  usage.add(answer, context_.services.model);
  event["usage"] = json::object{{"type", "tokens"},
                                {"input_tokens", usage.prompt_tokens},
                                {"output_tokens", usage.completion_tokens},
                                {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
  context_.events.send(std::move(event));
}

void RealtimeTranscription::abort_all() {
  for (const std::string& id : live_) context_.services.gateway.abort(id);
}

}  // namespace tutti::serve
