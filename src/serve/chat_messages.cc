#include "serve/chat_messages.h"

#include <fmt/format.h>

#include <charconv>

#include "base/strings.h"
#include "serve/api_error.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

constexpr std::string_view kParts = "text, image_url, input_audio, audio_url or video_url";

std::optional<ContentPart> read_part(const json::value& value, const std::string& path,
                                     Status* error) {
  const json::object* object = value.if_object();
  if (!object) {
    *error =
        invalid_argument(fmt::format("`{}` is {}; it must be an object.", path, json_kind(value)))
            .with_param(path);
    return std::nullopt;
  }
  Fields part(*object, path, error);
  ContentPart out;
  const std::string type = part.string("type").value_or("");
  if (type == "text" || type == "input_text" || type == "output_text") {
    if (auto text = part.string("text")) {
      out.text = std::move(*text);
    } else {
      part.missing("text", "a string");
    }
    part.accept({"annotations", "logprobs"});
  } else if (type == "image_url") {
    out.media = read_media_url(part, "image_url", MediaKind::kImage);
  } else if (type == "input_image") {
    out.media = read_media_url(part, "image_url", MediaKind::kImage);
    part.accept({"detail"});
  } else if (type == "video_url") {
    out.media = read_media_url(part, "video_url", MediaKind::kVideo);
  } else if (type == "audio_url") {
    out.media = read_media_url(part, "audio_url", MediaKind::kAudio);
  } else if (type == "input_audio") {
    out.media = read_input_audio(part, "input_audio");
  } else {
    part.fail("type", fmt::format("`{}` is '{}'; it must be {}.", part.path_of("type"),
                                  printable(type), kParts));
  }
  if (error->ok()) part.finish();
  return error->ok() ? std::optional(std::move(out)) : std::nullopt;
}

void read_content(Fields& message, const std::string& path, ChatMessage& out) {
  const json::value* content = message.any("content");
  if (!content) return;
  if (const auto* text = content->if_string()) {
    out.content.push_back({std::string(*text), std::nullopt});
    return;
  }
  const json::array* parts = content->if_array();
  if (!parts) {
    return message.fail("content",
                        fmt::format("`{}.content` is {}; it must be a string or an array "
                                    "of content parts.",
                                    path, json_kind(*content)));
  }
  for (size_t i = 0; i < parts->size(); ++i) {
    auto part = read_part((*parts)[i], fmt::format("{}.content[{}]", path, i), message.error());
    if (!part) return;
    out.content.push_back(std::move(*part));
  }
}

// What the template may want to see beside role and content.
void read_extras(Fields& message, ChatMessage& out) {
  json::object extra;
  for (const char* name : {"name", "tool_call_id", "reasoning_content"}) {
    if (const auto text = message.string(name)) extra[name] = *text;
  }
  if (const json::array* calls = message.objects("tool_calls")) extra["tool_calls"] = *calls;
  if (!extra.empty()) out.extra_json = json::serialize(extra);
}

ChatMessage read_message(const json::object& object, const std::string& path, Status* error,
                         const TranscriptLookup& transcript) {
  ChatMessage out;
  Fields message(object, path, error);
  const auto role = message.choice("role", {"system", "developer", "user", "assistant", "tool"});
  if (!role && error->ok()) message.missing("role", "system, user, assistant or tool");
  if (!error->ok()) return out;
  out.role = *role == "developer" ? "system" : *role;
  read_content(message, path, out);
  read_extras(message, out);
  message.accept({"refusal", "annotations", "type", "id", "status"});
  if (const json::object* audio = message.object("audio")) {
    Fields fields(*audio, path + ".audio", error);
    const std::string id = fields.string("id").value_or("");
    fields.accept({"data", "expires_at", "transcript"});
    if (out.content.empty()) {
      const auto text = transcript(id);
      if (!text) {
        fields.fail("id", fmt::format("`{}.audio.id` is '{}'; no answer with this id is kept. Send "
                                      "its transcript as `content` instead.",
                                      path, printable(id)));
      } else {
        out.content.push_back({*text, std::nullopt});
      }
    }
  }
  if (error->ok()) message.finish();
  const bool may_be_empty = out.role == "assistant" || out.role == "tool";
  if (error->ok() && out.content.empty() && !may_be_empty) {
    message.missing("content", "a string or an array of content parts");
  }
  return out;
}

}  // namespace

std::optional<MediaItem> read_media_url(Fields& part, std::string_view name, MediaKind kind) {
  const json::value* value = part.any(name);
  if (!value) {
    part.missing(name, "an object with a `url`");
    return std::nullopt;
  }
  MediaItem item;
  item.kind = kind;
  if (const auto* url = value->if_string()) {
    item.path_or_url = std::string(*url);
  } else if (const auto* object = value->if_object()) {
    Fields fields(*object, part.path_of(name), part.error());
    item.path_or_url = fields.string("url").value_or("");
    fields.accept({"detail"});
    if (part.ok() && item.path_or_url.empty())
      fields.missing("url", "a data:, http:, https: or file: URL");
    if (part.ok()) fields.finish();
  } else {
    part.fail(name, fmt::format("`{}` is {}; it must be an object with a `url`.",
                                part.path_of(name), json_kind(*value)));
  }
  // A path would name a file of the server; only URLs are for clients.
  if (part.ok() && item.path_or_url.find(':') == std::string::npos) {
    part.fail(name, fmt::format("`{}` is '{}'; it must be a data:, http:, https: or file: URL.",
                                part.path_of(name), printable(item.path_or_url)));
  }
  return part.ok() ? std::optional(std::move(item)) : std::nullopt;
}

std::optional<MediaItem> read_input_audio(Fields& part, std::string_view name) {
  const json::object* object = part.object(name);
  if (!object) {
    if (part.ok()) part.missing(name, "an object with `data` and `format`");
    return std::nullopt;
  }
  Fields fields(*object, part.path_of(name), part.error());
  MediaItem item;
  item.kind = MediaKind::kAudio;
  const std::string data = fields.string("data").value_or("");
  const std::string format = fields.string("format").value_or("wav");
  if (part.ok() && data.empty()) fields.missing("data", "base64 of a sound file");
  if (part.ok()) fields.finish();
  if (!part.ok()) return std::nullopt;
  // The declared format is a hint; decoders look at the content.
  item.path_or_url = data.starts_with("data:")
                         ? data
                         : fmt::format("data:audio/{};base64,{}", ascii_lower(format), data);
  return item;
}

void read_prompt_end(Fields& fields, ChatPrompt& prompt) {
  const auto generation_prompt = fields.boolean("add_generation_prompt");
  const auto goes_on = fields.boolean("continue_final_message");
  prompt.continue_final_message = goes_on.value_or(false);
  prompt.add_generation_prompt = generation_prompt.value_or(!prompt.continue_final_message);
  if (!fields.ok() || !prompt.continue_final_message) return;
  if (prompt.add_generation_prompt) {
    return fields.fail("continue_final_message",
                       "`continue_final_message` and `add_generation_prompt` are both true; an "
                       "answer either goes on with the last message or begins a new one.");
  }
  const ChatMessage& last = prompt.messages.back();
  if (last.role != "assistant") {
    fields.fail("continue_final_message",
                fmt::format("`continue_final_message` is true and the last message is of '{}'; it "
                            "must be of 'assistant'.",
                            last.role));
  }
}

Status about_field(Status error, std::string_view name, size_t before) {
  constexpr std::string_view kMessages = "messages";
  const std::string param = error.param();
  // The engine's word for all of it.
  if (param == "prompt") return std::move(error).with_param(std::string(name));
  if (!param.starts_with(kMessages)) return error;
  std::string_view rest = std::string_view(param).substr(kMessages.size());
  size_t index = 0;
  const char* end = rest.data() + rest.size();
  if (!rest.starts_with('[')) return std::move(error).with_param(std::string(name));
  const auto [stop, bad] = std::from_chars(rest.data() + 1, end, index);
  if (bad != std::errc() || index < before) return std::move(error).with_param(std::string(name));
  rest.remove_prefix(static_cast<size_t>(stop - rest.data()));
  return std::move(error).with_param(fmt::format("{}[{}{}", name, index - before, rest));
}

std::vector<ChatMessage> read_chat_messages(Fields& fields, const TranscriptLookup& transcript,
                                            std::string_view name) {
  std::vector<ChatMessage> out;
  const json::array* messages = fields.array(name);
  if (!messages || messages->empty()) {
    if (fields.ok()) fields.missing(name, "an array with at least one message");
    return out;
  }
  for (size_t i = 0; i < messages->size() && fields.ok(); ++i) {
    const std::string path = fmt::format("{}[{}]", fields.path_of(name), i);
    if (const auto* object = (*messages)[i].if_object()) {
      out.push_back(read_message(*object, path, fields.error(), transcript));
    } else {
      fields.fail(
          name, fmt::format("`{}` is {}; it must be an object.", path, json_kind((*messages)[i])));
    }
  }
  return out;
}

}  // namespace tutti::serve
