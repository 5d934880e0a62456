#include "serve/realtime_items.h"

#include <fmt/format.h>

#include <cstring>

#include "media/data_url.h"
#include "serve/chat_messages.h"
#include "serve/json_text.h"
#include "serve/realtime_settings.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

// Realtime's input_audio is bare PCM: as a file it can go the way of the others.
void rename_parts(json::object& message, Status* error) {
  json::value* content = message.if_contains("content");
  if (!content || !content->is_array()) return;
  for (size_t i = 0; i < content->get_array().size() && error->ok(); ++i) {
    json::object* part = content->get_array()[i].if_object();
    const json::value* type = part ? part->if_contains("type") : nullptr;
    if (!type || *type != "input_audio" || !part->contains("audio")) continue;
    Fields fields(*part, fmt::format("item.content[{}]", i), error);
    const auto samples = read_pcm16(fields, "audio");
    if (!samples) return;
    InputBuffer buffer(kRealtimeRate);
    buffer.append(*samples);
    std::string base64;
    append_base64(base64, *buffer.file(0, buffer.total_ms()));
    *part = json::object{{"type", "input_audio"},
                         {"input_audio", {{"data", base64}, {"format", "wav"}}}};
  }
}

// The reader of messages names them as in a chat.
void name_item(Status& error) {
  constexpr std::string_view kChat = "messages[0]";
  const auto renamed = [&](std::string text) {
    if (const size_t at = text.find(kChat); at != std::string::npos)
      text.replace(at, kChat.size(), "item");
    return text;
  };
  error = Status(error.code(), renamed(error.message())).with_param(renamed(error.param()));
}

}  // namespace

std::optional<std::vector<int16_t>> read_pcm16(Fields& fields, std::string_view name) {
  const auto audio = fields.string(name);
  if (!audio) {
    fields.missing(name, "base64 of 16-bit samples");
    return std::nullopt;
  }
  const auto bytes = decode_data_url("data:;base64," + *audio, kMostAudioBytes);
  if (!bytes) {
    fields.fail(
        name, fmt::format("`{}` is no base64: {}.", fields.path_of(name), bytes.error().message()));
    return std::nullopt;
  }
  if (bytes->size() % 2 != 0) {
    fields.fail(name, fmt::format("`{}` has half a sample at its end.", fields.path_of(name)));
    return std::nullopt;
  }
  std::vector<int16_t> samples(bytes->size() / 2);
  std::memcpy(samples.data(), bytes->data(), bytes->size());
  return samples;
}

std::optional<ConversationItem> read_item(const json::object& object, Fields& event) {
  Fields fields(object, "item", event.error());
  (void)fields.choice("type", {"message"});
  ConversationItem item;
  item.id = fields.string("id").value_or("");
  // The message of chat completions, but for the fields that only items have.
  json::object message = object;
  for (const char* name : {"id", "object", "status", "type"}) message.erase(name);
  rename_parts(message, event.error());
  if (!event.ok()) return std::nullopt;
  const json::object wrapped{{"messages", json::array{std::move(message)}}};
  Fields messages(wrapped, "", event.error());
  std::vector<ChatMessage> read =
      read_chat_messages(messages, [](const std::string&) { return std::optional<std::string>(); });
  if (!event.ok()) {
    name_item(*event.error());
    return std::nullopt;
  }
  item.role = read.front().role;
  for (ContentPart& part : read.front().content) {
    item.text += part.text;
    if (!part.media) continue;
    if (part.media->kind != MediaKind::kAudio) {
      item.pictures.push_back(std::move(*part.media));
    } else if (const auto bytes = decode_data_url(part.media->path_or_url, kMostAudioBytes)) {
      item.sounds.push_back(std::make_shared<const std::vector<std::byte>>(std::move(*bytes)));
    }
  }
  return item;
}

}  // namespace tutti::serve
