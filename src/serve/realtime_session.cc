#include "serve/realtime_session.h"

#include <fmt/format.h>

#include <array>

#include "base/strings.h"
#include "serve/api_error.h"
#include "serve/realtime_items.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

std::string required_id(Fields& fields, std::string_view name, std::string_view what) {
  const auto id = fields.string(name);
  if (!id && fields.ok()) fields.missing(name, what);
  return id.value_or("");
}

RealtimeError no_item(const std::string& id, const char* param, const char* code) {
  return {invalid_argument(fmt::format("The conversation has no item '{}'.", printable(id)))
              .with_param(param),
          code};
}

}  // namespace

RealtimeSession::RealtimeSession(const Services& services, std::string model,
                                 std::map<std::string, std::string> trace)
    : id_(new_id("sess")),
      context_{.services = services, .trace = std::move(trace), .conversation_id = new_id("conv")},
      transcription_(context_),
      prompt_(context_),
      answers_(context_, prompt_),
      turns_(context_, prompt_, answers_, transcription_) {
  context_.settings.model = std::move(model);
  context_.settings.speech = services.model.audio_stage() >= 0;
}

void RealtimeSession::on_open(std::shared_ptr<WebSocketPeer> peer) {
  const std::lock_guard lock(context_.mutex);
  context_.session = weak_from_this();
  context_.events.open(std::move(peer));
  context_.events.send({{"type", "session.created"},
                        {"session", context_.settings.json(id_, context_.services.model)}});
}

void RealtimeSession::on_text(std::string text) {
  boost::system::error_code bad;
  const json::value value = json::parse(text, bad);
  if (bad || !value.is_object()) {
    const std::lock_guard lock(context_.mutex);
    context_.events.set_client_event("");
    return context_.events.error(
        {invalid_argument(bad ? fmt::format("The message is no JSON: {}.", bad.message())
                              : "The message must be a JSON object."),
         "invalid_json"});
  }
  const json::object& event = value.get_object();
  // Reading takes its time when there are pictures in it, and answers of all sessions would wait
  // for the lock meanwhile.
  Status error;
  const Action action = read(event, &error);
  const std::lock_guard lock(context_.mutex);
  const json::value* id = event.if_contains("event_id");
  context_.events.set_client_event(id && id->is_string() ? std::string(id->get_string()) : "");
  const RealtimeError failure =
      error.ok() ? action() : RealtimeError{error, std::string(field_error_code(error))};
  if (!failure.ok()) context_.events.error(failure);
}

void RealtimeSession::on_close() {
  const std::lock_guard lock(context_.mutex);
  context_.events.close();
  prompt_.drop();
  prompt_.abort();
  answers_.abort_all();
  transcription_.abort_all();
}

RealtimeSession::Action RealtimeSession::read(const json::object& event, Status* error) {
  using Self = RealtimeSession;
  struct Known {
    std::string_view type;
    Action (*read)(Self&, Fields&);
  };
  static constexpr std::array<Known, 10> kKnown{{
      {"session.update", [](Self& s, Fields& f) { return s.read_update(f); }},
      {"input_audio_buffer.append", [](Self& s, Fields& f) { return s.read_append(f); }},
      {"input_audio_buffer.commit",
       [](Self& s, Fields&) -> Action { return [&s] { return s.turns_.commit_by_client(); }; }},
      {"input_audio_buffer.clear",
       [](Self& s, Fields&) -> Action {
         return [&s] {
           s.turns_.clear();
           return RealtimeError();
         };
       }},
      {"conversation.item.create", [](Self& s, Fields& f) { return s.read_create(f); }},
      {"conversation.item.retrieve", [](Self& s, Fields& f) { return s.read_retrieve(f); }},
      {"conversation.item.truncate", [](Self& s, Fields& f) { return s.read_truncate(f); }},
      {"conversation.item.delete", [](Self& s, Fields& f) { return s.read_delete(f); }},
      {"response.create", [](Self& s, Fields& f) { return s.read_response(f); }},
      {"response.cancel", [](Self& s, Fields& f) { return s.read_cancel(f); }},
  }};
  Fields fields(event, "", error);
  const auto type = fields.string("type");
  (void)fields.string("event_id");
  std::vector<std::string> names;
  for (const Known& known : kKnown) {
    names.emplace_back(known.type);
    if (!type || known.type != *type) continue;
    Action action = known.read(*this, fields);
    if (error->ok()) fields.finish();
    return action;
  }
  if (type) {
    fields.fail("type", fmt::format("The event type '{}' is unknown; there are: {}.",
                                    printable(*type), join(names)));
  } else if (error->ok()) {
    fields.missing("type", "the event's type, one of: " + join(names));
  }
  return nullptr;
}

RealtimeSession::Action RealtimeSession::read_update(Fields& fields) {
  const json::object* session = fields.object("session");
  if (!session) {
    if (fields.ok()) fields.missing("session", "an object");
    return nullptr;
  }
  const ModelInfo& model = context_.services.model;
  // Only the client's events change the settings, and they come one at a time.
  RealtimeSettings changed = context_.settings;
  changed.update(*session, model, fields.error());
  return [this, &model, changed] {
    const bool same_detection = changed.turn_detection == context_.settings.turn_detection;
    context_.settings = changed;
    if (!same_detection) turns_.restart_detection();
    context_.events.send(
        {{"type", "session.updated"}, {"session", context_.settings.json(id_, model)}});
    return RealtimeError();
  };
}

RealtimeSession::Action RealtimeSession::read_append(Fields& fields) {
  auto samples = read_pcm16(fields, "audio");
  if (!samples) return nullptr;
  return [this, samples = std::move(*samples)] { return turns_.append(samples); };
}

RealtimeSession::Action RealtimeSession::read_create(Fields& fields) {
  const std::string previous = fields.string("previous_item_id").value_or("");
  const json::object* object = fields.object("item");
  if (!object) {
    if (fields.ok()) fields.missing("item", "an object");
    return nullptr;
  }
  if (!fields.ok()) return nullptr;
  auto item = read_item(*object, "item", context_.services.model, fields.error());
  if (!item) return nullptr;
  return [this, item = std::move(*item), previous] { return create_item(item, previous); };
}

RealtimeError RealtimeSession::create_item(ConversationItem item, const std::string& previous_id) {
  Conversation& conversation = context_.conversation;
  if (!previous_id.empty() && previous_id != "root" && !conversation.find(previous_id))
    return no_item(previous_id, "previous_item_id", "item_not_found");
  if (conversation.find(item.id)) {
    return {invalid_argument(fmt::format("There is an item '{}' already.", printable(item.id)))
                .with_param("item.id"),
            "item_already_exists"};
  }
  if (Status room = conversation.room_for(item.bytes()); !room.ok())
    return {std::move(room).with_param("item"), "conversation_full"};
  if (item.id.empty()) item.id = new_id("item");
  add_item(context_, std::move(item), previous_id);
  return {};
}

RealtimeSession::Action RealtimeSession::read_retrieve(Fields& fields) {
  return [this, id = required_id(fields, "item_id", "the id of an item")]() -> RealtimeError {
    const ConversationItem* item = context_.conversation.find(id);
    if (!item) return no_item(id, "item_id", "item_retrieve_invalid_item_id");
    context_.events.send({{"type", "conversation.item.retrieved"}, {"item", item->json()}});
    return {};
  };
}

RealtimeSession::Action RealtimeSession::read_truncate(Fields& fields) {
  const std::string id = required_id(fields, "item_id", "the id of a spoken answer");
  (void)fields.integer("content_index", 0, 0);
  const auto end_ms = fields.integer("audio_end_ms", 0, int64_t{1} << 40);
  if (!end_ms && fields.ok()) fields.missing("audio_end_ms", "the milliseconds that were heard");
  return [this, id, end = end_ms.value_or(0)] { return truncate_item(id, end); };
}

RealtimeError RealtimeSession::truncate_item(const std::string& id, int64_t end_ms) {
  ConversationItem* item = context_.conversation.find(id);
  if (!item) return no_item(id, "item_id", "item_truncate_invalid_item_id");
  if (item->role != "assistant" || item->audio_ms == 0) {
    return {invalid_argument("Only spoken answers can be truncated.").with_param("item_id"),
            "item_truncate_invalid_item_id"};
  }
  if (end_ms > item->audio_ms) {
    return {
        invalid_argument(fmt::format("`audio_end_ms` is {}; the answer has {} ms of sound so far.",
                                     end_ms, item->audio_ms))
            .with_param("audio_end_ms"),
        "invalid_value"};
  }
  truncate(context_, *item, end_ms);
  return {};
}

RealtimeSession::Action RealtimeSession::read_delete(Fields& fields) {
  return [this, id = required_id(fields, "item_id", "the id of an item")]() -> RealtimeError {
    if (!context_.conversation.erase(id))
      return no_item(id, "item_id", "item_delete_invalid_item_id");
    context_.events.send({{"type", "conversation.item.deleted"}, {"item_id", id}});
    return {};
  };
}

RealtimeSession::Action RealtimeSession::read_response(Fields& fields) {
  const json::object* object = fields.object("response");
  ResponseOrder order;
  if (object) order = read_order(*object, context_.services.model, fields.error());
  return [this, order = std::move(order)] { return answers_.create(order); };
}

RealtimeSession::Action RealtimeSession::read_cancel(Fields& fields) {
  return [this, id = fields.string("response_id")] { return answers_.cancel_by_client(id); };
}

}  // namespace tutti::serve
