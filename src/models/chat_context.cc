#include "models/chat_context.h"

#include <boost/json.hpp>

namespace tutti {

namespace json = boost::json;

namespace {

Result<json::value> parse_field(const std::string& text, const std::string& field,
                                json::kind kind) {
  boost::system::error_code error;
  json::value value = json::parse(text, error);
  if (error || value.kind() != kind) {
    return invalid_argument("`" + field + "` is not a JSON " +
                            (kind == json::kind::array ? "array" : "object") + ".")
        .with_param(field);
  }
  return value;
}

json::value content_of(const ChatMessage& message) {
  const auto& parts = message.content;
  if (parts.empty()) return "";
  if (parts.size() == 1 && !parts[0].media) return json::value(parts[0].text);
  json::array list;
  for (const ContentPart& part : parts) {
    if (!part.media) {
      list.push_back({{"type", "text"}, {"text", part.text}});
      continue;
    }
    const char* type = part.media->kind == MediaKind::kAudio   ? "audio"
                       : part.media->kind == MediaKind::kImage ? "image"
                                                               : "video";
    list.push_back({{"type", type}, {type, part.media->path_or_url}});
  }
  return list;
}

}  // namespace

Result<json::object> chat_context(const ChatPrompt& prompt) {
  if (prompt.messages.empty()) {
    return invalid_argument("`messages` is empty; expected at least one message.")
        .with_param("messages");
  }
  json::array messages;
  for (const ChatMessage& message : prompt.messages) {
    json::object object;
    object["role"] = message.role;
    object["content"] = content_of(message);
    if (!message.extra_json.empty()) {
      TUTTI_ASSIGN_OR_RETURN(const json::value extra,
                             parse_field(message.extra_json, "messages", json::kind::object));
      for (const auto& [key, value] : extra.get_object()) object[key] = value;
    }
    messages.push_back(std::move(object));
  }
  json::object context;
  context["messages"] = std::move(messages);
  context["add_generation_prompt"] = prompt.add_generation_prompt;
  if (!prompt.tools_json.empty()) {
    TUTTI_ASSIGN_OR_RETURN(context["tools"],
                           parse_field(prompt.tools_json, "tools", json::kind::array));
  }
  if (!prompt.template_kwargs_json.empty()) {
    TUTTI_ASSIGN_OR_RETURN(
        const json::value more,
        parse_field(prompt.template_kwargs_json, "chat_template_kwargs", json::kind::object));
    for (const auto& [key, value] : more.get_object()) context[key] = value;
  }
  return context;
}

}  // namespace tutti
