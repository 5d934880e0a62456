#include "serve/realtime_session.h"

#include <fmt/format.h>

#include <array>

#include "base/strings.h"
#include "serve/api_error.h"
#include "serve/realtime_items.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

constexpr size_t kMostItems = 1000;

}  // namespace

RealtimeSession::RealtimeSession(const Services& services, std::string model,
                                 std::map<std::string, std::string> trace)
    : id_(new_id("sess")),
      context_{.services = services, .trace = std::move(trace)},
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
  const std::lock_guard lock(context_.mutex);
  boost::system::error_code bad;
  const json::value value = json::parse(text, bad);
  context_.events.set_client_event("");
  if (bad || !value.is_object()) {
    return context_.events.error(
        invalid_argument(bad ? fmt::format("The message is no JSON: {}.", bad.message())
                             : "The message must be a JSON object."));
  }
  const json::object& event = value.get_object();
  const json::value* id = event.if_contains("event_id");
  if (id && id->is_string()) context_.events.set_client_event(std::string(id->get_string()));
  const Status status = handle(event);
  if (!status.ok()) context_.events.error(status);
}

void RealtimeSession::on_close() {
  const std::lock_guard lock(context_.mutex);
  context_.events.close();
  prompt_.drop();
  prompt_.abort();
  transcription_.abort_all();
}

Status RealtimeSession::handle(const json::object& event) {
  using Self = RealtimeSession;
  struct Known {
    std::string_view type;
    void (*handle)(Self&, Fields&);
  };
  static constexpr std::array<Known, 10> kKnown{{
      {"session.update", [](Self& s, Fields& f) { s.update_session(f); }},
      {"input_audio_buffer.append", [](Self& s, Fields& f) { s.turns_.append(f); }},
      {"input_audio_buffer.commit", [](Self& s, Fields& f) { s.turns_.commit_by_client(f); }},
      {"input_audio_buffer.clear", [](Self& s, Fields&) { s.turns_.clear(); }},
      {"conversation.item.create", [](Self& s, Fields& f) { s.create_item(f); }},
      {"conversation.item.retrieve", [](Self& s, Fields& f) { s.retrieve_item(f); }},
      {"conversation.item.truncate", [](Self& s, Fields& f) { s.truncate_item(f); }},
      {"conversation.item.delete", [](Self& s, Fields& f) { s.delete_item(f); }},
      {"response.create", [](Self& s, Fields& f) { s.answers_.create(f); }},
      {"response.cancel", [](Self& s, Fields& f) { s.answers_.cancel_by_client(f); }},
  }};
  Status error;
  Fields fields(event, "", &error);
  const std::string type = fields.string("type").value_or("");
  fields.accept({"event_id"});
  for (const Known& known : kKnown) {
    if (known.type != type) continue;
    known.handle(*this, fields);
    if (error.ok()) fields.finish();
    return error;
  }
  std::vector<std::string> names;
  for (const Known& known : kKnown) names.emplace_back(known.type);
  fields.fail("type", fmt::format("The event type '{}' is unknown; there are: {}.", printable(type),
                                  join(names)));
  return error;
}

void RealtimeSession::update_session(Fields& fields) {
  const json::object* session = fields.object("session");
  if (!session) return fields.missing("session", "an object");
  RealtimeSettings changed = context_.settings;
  changed.update(*session, context_.services.model, fields.error());
  if (!fields.ok()) return;
  const bool same_detection = changed.turn_detection == context_.settings.turn_detection;
  context_.settings = std::move(changed);
  if (!same_detection) turns_.restart_detection();
  context_.events.send({{"type", "session.updated"},
                        {"session", context_.settings.json(id_, context_.services.model)}});
}

void RealtimeSession::create_item(Fields& fields) {
  const std::string previous = fields.string("previous_item_id").value_or("");
  const json::object* object = fields.object("item");
  if (!object) return fields.missing("item", "an object");
  if (context_.conversation.size() >= kMostItems) {
    return fields.fail("item",
                       fmt::format("The conversation has {} items; that is the most.", kMostItems));
  }
  if (!previous.empty() && previous != "root" && !context_.conversation.find(previous)) {
    return fields.fail("previous_item_id",
                       fmt::format("There is no item '{}'.", printable(previous)));
  }
  std::optional<ConversationItem> item = read_item(*object, fields);
  if (!item) return;
  if (context_.conversation.find(item->id)) {
    Fields inner(*object, "item", fields.error());
    return inner.fail("id", fmt::format("There is an item '{}' already.", printable(item->id)));
  }
  if (item->id.empty()) item->id = new_id("item");
  add_item(context_, std::move(*item), previous);
}

ConversationItem* RealtimeSession::find_item(Fields& fields) {
  const std::string id = fields.string("item_id").value_or("");
  ConversationItem* item = context_.conversation.find(id);
  if (!item) fields.fail("item_id", fmt::format("There is no item '{}'.", printable(id)));
  return item;
}

void RealtimeSession::retrieve_item(Fields& fields) {
  if (const ConversationItem* item = find_item(fields)) {
    context_.events.send({{"type", "conversation.item.retrieved"}, {"item", item->json()}});
  }
}

void RealtimeSession::truncate_item(Fields& fields) {
  const auto end_ms = fields.integer("audio_end_ms", 0, int64_t{1} << 40);
  (void)fields.integer("content_index", 0, 0);
  ConversationItem* item = find_item(fields);
  if (!item) return;
  if (!end_ms) return fields.missing("audio_end_ms", "the milliseconds that were heard");
  if (item->role != "assistant" || item->audio_ms == 0) {
    return fields.fail("item_id", "Only spoken answers can be truncated.");
  }
  if (*end_ms > item->audio_ms) {
    return fields.fail("audio_end_ms",
                       fmt::format("`audio_end_ms` is {}; the answer has {} ms of sound so far.",
                                   *end_ms, item->audio_ms));
  }
  truncate(context_, *item, *end_ms);
}

void RealtimeSession::delete_item(Fields& fields) {
  const ConversationItem* item = find_item(fields);
  if (!item) return;
  const std::string id = item->id;
  context_.conversation.erase(id);
  context_.events.send({{"type", "conversation.item.deleted"}, {"item_id", id}});
}

}  // namespace tutti::serve
