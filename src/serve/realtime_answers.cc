#include "serve/realtime_answers.h"

#include <fmt/format.h>

#include <algorithm>

#include "media/audio_encoder.h"
#include "serve/api_error.h"
#include "serve/json_text.h"
#include "serve/text_answer.h"

namespace tutti::serve {

namespace json = boost::json;

void RealtimeAnswers::create(Fields& fields) {
  const json::object* object = fields.object("response");
  if (response_) {
    return fields.fail(
        "response",
        fmt::format("The response '{}' is still active; cancel it first.", response_->id));
  }
  RealtimeSettings own = context_.settings;
  if (object) own.update(*object, context_.services.model, fields.error());
  if (fields.ok()) start(own);
}

void RealtimeAnswers::cancel_by_client(Fields& fields) {
  fields.accept({"response_id"});
  if (!response_) return fields.fail("response_id", "There is no response to cancel.");
  cancel("client_cancelled");
}

void RealtimeAnswers::start(const RealtimeSettings& settings) {
  if (response_) return;
  response_.emplace();
  response_->id = new_id("resp");
  response_->item_id = new_id("item");
  response_->speech = settings.speech;
  context_.events.send({{"type", "response.created"}, {"response", response_json("in_progress")}});
  const std::string id = response_->id;
  prompt_.submit(answer_request(context_, settings, id),
                 std::make_shared<TextAnswer>(
                     context_.services, context_.guarded([this, id](const OutputMessage& message) {
                       delta(id, message);
                     }),
                     context_.guarded([this, id](const Status& status, const Answer& answer) {
                       done(id, status, answer);
                     })));
}

void RealtimeAnswers::delta(const std::string& id, const OutputMessage& message) {
  if (!response_ || response_->id != id) return;
  const StageOutputDelta& output = message.output;
  if (!output.text.empty()) {
    begin_item();
    response_->text += output.text;
    send_text(output.text);
  }
  if (!output.audio.samples.empty()) {
    begin_item();
    send_audio(output.audio);
  }
  if (ConversationItem* item = context_.conversation.find(response_->item_id)) {
    item->text = response_->text;
    item->audio_ms = 1000 * response_->samples / response_->sample_rate;
  }
}

void RealtimeAnswers::begin_item() {
  if (std::exchange(response_->begun, true)) return;
  ConversationItem item;
  item.id = response_->item_id;
  item.role = "assistant";
  item.complete = false;
  context_.events.send(at_item("response.output_item.added", item.json()));
  context_.events.send({{"type", "conversation.item.added"},
                        {"previous_item_id", or_null(context_.conversation.last())},
                        {"item", item.json()}});
  context_.conversation.insert(std::move(item), "");
  json::object event = at_part("response.content_part.added");
  event["part"] = part_json("");
  context_.events.send(std::move(event));
}

void RealtimeAnswers::send_text(const std::string& text) {
  json::object event = at_part(response_->speech ? "response.output_audio_transcript.delta"
                                                 : "response.output_text.delta");
  event["delta"] = valid_utf8(text);
  context_.events.send(std::move(event));
}

void RealtimeAnswers::send_audio(const AudioChunk& audio) {
  if (response_->samples == 0) {
    speaking_since_ = Clock::now();
    speaking_item_ = response_->item_id;
  }
  response_->samples += static_cast<int64_t>(audio.samples.size());
  response_->sample_rate = audio.sample_rate;
  const std::string pcm = pcm16(audio.samples);
  json::object event = at_part("response.output_audio.delta");
  std::string base64;
  append_base64(base64, std::as_bytes(std::span(pcm)));
  event["delta"] = std::move(base64);
  context_.events.send(std::move(event));
}

void RealtimeAnswers::interrupt() {
  ConversationItem* spoken = context_.conversation.find(speaking_item_);
  const auto since =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - speaking_since_);
  if (spoken && !spoken->heard_ms && (response_ || since.count() < spoken->audio_ms)) {
    truncate(context_, *spoken, std::min<int64_t>(since.count(), spoken->audio_ms));
  }
  if (response_) cancel("turn_detected");
}

void truncate(RealtimeContext& context, ConversationItem& item, int64_t heard_ms) {
  item.heard_ms = heard_ms;
  context.events.send({{"type", "conversation.item.truncated"},
                       {"item_id", item.id},
                       {"content_index", 0},
                       {"audio_end_ms", heard_ms}});
}

void RealtimeAnswers::cancel(const char* why) {
  response_->cancelled = why;
  prompt_.abort();
  // The next turn must not wait for the engine to let go.
  finish("cancelled", nullptr, {});
}

void RealtimeAnswers::done(const std::string& id, const Status& status, const Answer& answer) {
  if (!response_ || response_->id != id) return;
  if (!status.ok()) return finish("failed", nullptr, status);
  begin_item();
  finish(answer.finish_reason == FinishReason::kLength ? "incomplete" : "completed", &answer, {});
}

void RealtimeAnswers::finish(const char* outcome, const Answer* answer, const Status& error) {
  json::object body = response_json(outcome);
  if (response_->begun) {
    close_item(outcome);
    const ConversationItem* item = context_.conversation.find(response_->item_id);
    body["output"] = json::array{item ? item->json() : json::object()};
  }
  if (!response_->cancelled.empty()) {
    body["status_details"] = json::object{{"type", "cancelled"}, {"reason", response_->cancelled}};
  }
  if (!error.ok()) {
    body["status_details"] =
        json::object{{"type", "failed"},
                     {"error", {{"type", error_type(error.code())}, {"message", error.message()}}}};
  }
  if (answer) {
    Usage usage;
    usage.add(*answer, context_.services.model);
    const int64_t out = usage.completion_tokens + usage.audio_tokens;
    body["usage"] = json::object{{"input_tokens", usage.prompt_tokens},
                                 {"output_tokens", out},
                                 {"total_tokens", usage.prompt_tokens + out}};
    body["stage_metrics"] = stage_metrics_json(*answer, context_.services.model);
  }
  response_.reset();
  context_.events.send({{"type", "response.done"}, {"response", std::move(body)}});
}

void RealtimeAnswers::close_item(const char* outcome) {
  ConversationItem* item = context_.conversation.find(response_->item_id);
  if (item) {
    item->complete = std::string_view(outcome) == "completed";
    item->audio_complete = response_->cancelled.empty();
  }
  json::object words = at_part(response_->speech ? "response.output_audio_transcript.done"
                                                 : "response.output_text.done");
  words[response_->speech ? "transcript" : "text"] = valid_utf8(response_->text);
  if (response_->speech) context_.events.send(at_part("response.output_audio.done"));
  context_.events.send(std::move(words));
  json::object part = at_part("response.content_part.done");
  part["part"] = part_json(response_->text);
  context_.events.send(std::move(part));
  if (item) context_.events.send(at_item("response.output_item.done", item->json()));
}

json::object RealtimeAnswers::response_json(const char* status) const {
  return {{"object", "realtime.response"},
          {"id", response_->id},
          {"status", status},
          {"status_details", nullptr},
          {"output", json::array()},
          {"output_modalities", json::array{response_->speech ? "audio" : "text"}}};
}

json::object RealtimeAnswers::part_json(const std::string& text) const {
  return response_->speech
             ? json::object{{"type", "output_audio"}, {"transcript", valid_utf8(text)}}
             : json::object{{"type", "output_text"}, {"text", valid_utf8(text)}};
}

json::object RealtimeAnswers::at_part(const char* type) const {
  return {{"type", type},
          {"response_id", response_->id},
          {"item_id", response_->item_id},
          {"output_index", 0},
          {"content_index", 0}};
}

json::object RealtimeAnswers::at_item(const char* type, json::object item) const {
  return {{"type", type},
          {"response_id", response_->id},
          {"output_index", 0},
          {"item", std::move(item)}};
}

}  // namespace tutti::serve
