#include "serve/realtime_answers.h"

#include <fmt/format.h>

#include <algorithm>

#include "media/audio_encoder.h"
#include "serve/api_error.h"
#include "serve/json_text.h"
#include "serve/realtime_response_json.h"
#include "serve/text_answer.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

constexpr size_t kMostOutOfBand = 8;

}  // namespace

RealtimeError RealtimeAnswers::create(const ResponseOrder& order) {
  if (!order.out_of_band && active()) {
    return {invalid_argument(
                fmt::format("The response '{}' is still active; cancel it first.", in_band_)),
            "conversation_already_has_active_response"};
  }
  if (order.out_of_band && responses_.size() - (active() ? 1 : 0) >= kMostOutOfBand) {
    return {
        resource_exhausted(fmt::format(
            "{} responses are active beside the conversation, which is the most.", kMostOutOfBand)),
        "too_many_active_responses"};
  }
  if (!order.out_of_band) {
    if (Status room = context_.conversation.room_for(0); !room.ok())
      return {room, "conversation_full"};
  }
  RealtimeResponse response;
  response.settings = order.settings.over(context_.settings);
  response.out_of_band = order.out_of_band;
  response.metadata = order.metadata;
  std::vector<ChatMessage> messages;
  if (RealtimeError wrong = messages_for(order, response.settings.instructions, messages);
      !wrong.ok())
    return wrong;
  start(std::move(response), std::move(messages));
  return {};
}

RealtimeError RealtimeAnswers::messages_for(const ResponseOrder& order,
                                            const std::string& instructions,
                                            std::vector<ChatMessage>& out) {
  if (!order.input) {
    out = context_.conversation.messages(instructions);
  } else {
    std::vector<ConversationItem> items;
    for (size_t i = 0; i < order.input->size(); ++i) {
      const OrderItem& item = (*order.input)[i];
      const auto* reference = std::get_if<ItemReference>(&item);
      const ConversationItem* found =
          reference ? context_.conversation.find(reference->id) : &std::get<ConversationItem>(item);
      if (!found) {
        return {invalid_argument(
                    fmt::format("The conversation has no item '{}'.", printable(reference->id)))
                    .with_param(fmt::format("response.input[{}].id", i)),
                "item_not_found"};
      }
      items.push_back(*found);
    }
    out = messages_of(instructions, items);
  }
  if (!out.empty()) return {};
  return {invalid_argument("There is nothing to answer: neither items that say something, nor "
                           "instructions."),
          "nothing_to_answer"};
}

RealtimeError RealtimeAnswers::cancel_by_client(const std::optional<std::string>& response_id) {
  const std::string id = response_id.value_or(in_band_);
  if (responses_.contains(id)) {
    cancel(id, "client_cancelled");
    return {};
  }
  return {invalid_argument(response_id ? fmt::format("There is no active response '{}' to cancel.",
                                                     printable(id))
                                       : "There is no active response to cancel.")
              .with_param("response_id"),
          "response_cancel_not_active"};
}

void RealtimeAnswers::answer_turn() {
  if (active()) return;
  if (const RealtimeError refused = create({}); !refused.ok()) context_.events.error(refused);
}

void RealtimeAnswers::start(RealtimeResponse response, std::vector<ChatMessage> messages) {
  const std::string id = response.id = new_id("resp");
  const bool out_of_band = response.out_of_band;
  response.item.id = new_id("item");
  response.item.role = "assistant";
  response.item.state = ConversationItem::State::kInProgress;
  if (!out_of_band) in_band_ = id;
  context_.events.send(
      {{"type", "response.created"}, {"response", response_json(response, "in_progress")}});
  AddRequest request = answer_request(context_, response.settings, id, std::move(messages));
  responses_.emplace(id, std::move(response));
  auto sink = std::make_shared<TextAnswer>(
      context_.services,
      context_.guarded([this, id](const OutputMessage& message) { delta(id, message); }),
      context_.guarded(
          [this, id](const Status& status, const Answer& answer) { done(id, status, answer); }));
  if (out_of_band) return context_.services.gateway.submit(std::move(request), std::move(sink));
  prompt_.submit(std::move(request), std::move(sink));
}

void RealtimeAnswers::delta(const std::string& id, const OutputMessage& message) {
  const auto found = responses_.find(id);
  if (found == responses_.end()) return;
  RealtimeResponse& response = found->second;
  if (!message.output.text.empty()) add_text(response, message.output.text);
  if (!message.output.audio.samples.empty()) add_audio(response, message.output.audio);
  keep(response);
}

void RealtimeAnswers::begin_item(RealtimeResponse& response) {
  if (std::exchange(response.begun, true)) return;
  const json::object item = response.item.json();
  context_.events.send(at_item("response.output_item.added", response, item));
  if (!response.out_of_band) {
    context_.events.send({{"type", "conversation.item.added"},
                          {"previous_item_id", or_null(context_.conversation.last())},
                          {"item", item}});
    context_.conversation.insert(response.item, "");
  }
  response.item.content.emplace_back();
  response.item.content.front().spoken = response.settings.speech;
  json::object event = at_part("response.content_part.added", response);
  event["part"] = part_json(response);
  context_.events.send(std::move(event));
}

void RealtimeAnswers::add_text(RealtimeResponse& response, const std::string& text) {
  begin_item(response);
  response.item.content.front().text += text;
  json::object event = at_part(response.settings.speech ? "response.output_audio_transcript.delta"
                                                        : "response.output_text.delta",
                               response);
  event["delta"] = valid_utf8(text);
  context_.events.send(std::move(event));
}

void RealtimeAnswers::add_audio(RealtimeResponse& response, const AudioChunk& audio) {
  begin_item(response);
  if (!response.stretch) {
    response.sample_rate = audio.sample_rate;
    response.stretch = std::make_unique<TimeStretch>(audio.sample_rate, response.settings.speed);
  }
  send_audio(response, response.stretch->append(audio.samples));
}

void RealtimeAnswers::send_audio(RealtimeResponse& response, std::span<const float> samples) {
  if (samples.empty()) return;
  if (response.samples == 0 && !response.out_of_band) {
    speaking_since_ = Clock::now();
    speaking_item_ = response.item.id;
  }
  response.samples += static_cast<int64_t>(samples.size());
  response.item.audio_ms = 1000 * response.samples / response.sample_rate;
  const std::string pcm = pcm16(samples);
  json::object event = at_part("response.output_audio.delta", response);
  std::string base64;
  append_base64(base64, std::as_bytes(std::span(pcm)));
  event["delta"] = std::move(base64);
  context_.events.send(std::move(event));
}

void RealtimeAnswers::keep(const RealtimeResponse& response) {
  ConversationItem* item = context_.conversation.find(response.item.id);
  if (!item) return;
  const std::optional<int64_t> heard_ms = item->heard_ms;
  *item = response.item;
  item->heard_ms = heard_ms;
}

void RealtimeAnswers::interrupt() {
  ConversationItem* spoken = context_.conversation.find(speaking_item_);
  const auto since =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - speaking_since_);
  if (spoken && !spoken->heard_ms && (active() || since.count() < spoken->audio_ms)) {
    truncate(context_, *spoken, std::min<int64_t>(since.count(), spoken->audio_ms));
  }
  if (active()) cancel(in_band_, "turn_detected");
}

void truncate(RealtimeContext& context, ConversationItem& item, int64_t heard_ms) {
  item.heard_ms = heard_ms;
  context.events.send({{"type", "conversation.item.truncated"},
                       {"item_id", item.id},
                       {"content_index", 0},
                       {"audio_end_ms", heard_ms}});
}

void RealtimeAnswers::cancel(const std::string& id, const char* why) {
  const std::string own = id;  // which may be in_band_ itself
  responses_.at(own).cancelled = why;
  own == in_band_ ? prompt_.abort() : context_.services.gateway.abort(own);
  // The next turn must not wait for the engine to let go.
  finish(own, "cancelled", nullptr, {});
}

void RealtimeAnswers::abort_all() {
  for (const auto& [id, response] : responses_) {
    if (response.out_of_band) context_.services.gateway.abort(id);
  }
}

void RealtimeAnswers::done(const std::string& id, const Status& status, const Answer& answer) {
  const auto found = responses_.find(id);
  if (found == responses_.end()) return;
  if (!status.ok()) return finish(id, "failed", nullptr, status);
  begin_item(found->second);
  if (found->second.stretch) send_audio(found->second, found->second.stretch->finish());
  finish(id, answer.finish_reason == FinishReason::kLength ? "incomplete" : "completed", &answer,
         {});
}

void RealtimeAnswers::finish(const std::string& id, const char* outcome, const Answer* answer,
                             const Status& error) {
  RealtimeResponse response = std::move(responses_.extract(id).mapped());
  if (!response.out_of_band) in_band_.clear();
  json::object body = response_json(response, outcome);
  body["status_details"] = outcome_json(outcome, response.cancelled, error);
  if (response.begun) {
    close_item(response, outcome);
    body["output"] = json::array{item_json(response)};
  }
  if (answer) {
    body["usage"] = usage_json(*answer, context_.services.model);
    body["stage_metrics"] = stage_metrics_json(*answer, context_.services.model);
  }
  context_.events.send({{"type", "response.done"}, {"response", std::move(body)}});
}

void RealtimeAnswers::close_item(RealtimeResponse& response, const char* outcome) {
  response.item.state = std::string_view(outcome) == "completed"
                            ? ConversationItem::State::kCompleted
                            : ConversationItem::State::kIncomplete;
  response.item.audio_complete = response.cancelled.empty();
  keep(response);
  const bool speech = response.settings.speech;
  if (speech) context_.events.send(at_part("response.output_audio.done", response));
  json::object words = at_part(
      speech ? "response.output_audio_transcript.done" : "response.output_text.done", response);
  words[speech ? "transcript" : "text"] = valid_utf8(response.item.content.front().text);
  context_.events.send(std::move(words));
  json::object part = at_part("response.content_part.done", response);
  part["part"] = part_json(response);
  context_.events.send(std::move(part));
  const json::object item = item_json(response);
  context_.events.send(at_item("response.output_item.done", response, item));
  if (!context_.conversation.find(response.item.id)) return;
  context_.events.send(
      {{"type", "conversation.item.done"},
       {"previous_item_id", or_null(context_.conversation.before(response.item.id))},
       {"item", item}});
}

json::object RealtimeAnswers::response_json(const RealtimeResponse& response,
                                            const char* status) const {
  return {{"object", "realtime.response"},
          {"id", response.id},
          {"status", status},
          {"status_details", nullptr},
          {"output", json::array()},
          {"output_modalities", json::array{response.settings.speech ? "audio" : "text"}},
          {"audio", {{"output", response.settings.output_json(context_.services.model)}}},
          {"max_output_tokens", response.settings.most_tokens_json()},
          {"conversation_id",
           response.out_of_band ? json::value(nullptr) : json::value(context_.conversation_id)},
          {"metadata", response.metadata},
          {"usage", nullptr}};
}

json::object RealtimeAnswers::item_json(const RealtimeResponse& response) {
  const ConversationItem* item = context_.conversation.find(response.item.id);
  return item ? item->json() : response.item.json();
}

}  // namespace tutti::serve
