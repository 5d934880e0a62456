#include "serve/realtime_items.h"

#include <fmt/format.h>

#include <cstring>

#include "media/data_url.h"
#include "serve/api_error.h"
#include "serve/chat_messages.h"
#include "serve/realtime_settings.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

constexpr std::string_view kParts =
    "input_text, input_audio, input_image, output_text, output_audio, audio_url or video_url";

Sound wav_file(const std::vector<int16_t>& samples) {
  InputBuffer buffer(kRealtimeRate);
  buffer.append(samples);
  return buffer.file(0, buffer.total_ms() + 1);  // the last millisecond may be a part of one
}

void read_text(Fields& fields, std::string_view name, ItemPart& part) {
  if (auto text = fields.string(name)) {
    part.text = std::move(*text);
  } else if (fields.ok()) {
    fields.missing(name, "a string");
  }
}

// What a later answer would have to fetch may be gone by then: only what comes with the item.
bool comes_with_item(Fields& fields, std::string_view name, const std::optional<MediaItem>& media) {
  if (!media) return false;
  if (url_scheme(media->path_or_url) == "data") return true;
  fields.fail(name, fmt::format("`{}` is '{}'; items take data: URLs alone.", fields.path_of(name),
                                printable(media->path_or_url)));
  return false;
}

void keep_sound(Fields& fields, std::string_view name, const std::optional<MediaItem>& media,
                ItemPart& part) {
  if (!comes_with_item(fields, name, media)) return;
  auto bytes = decode_data_url(media->path_or_url, kMostAudioBytes);
  if (!bytes) {
    return fields.fail(name,
                       fmt::format("`{}`: {}.", fields.path_of(name), bytes.error().message()));
  }
  part.sounds.push_back(std::make_shared<const std::vector<std::byte>>(std::move(*bytes)));
}

// Realtime's is bare PCM as `audio`; a file as chat completions have it (`input_audio`) will do.
void read_sound(Fields& fields, ItemPart& part) {
  part.spoken = true;
  part.text = fields.string("transcript").value_or("");
  if (fields.any("input_audio"))
    return keep_sound(fields, "input_audio", read_input_audio(fields, "input_audio"), part);
  if (const auto samples = read_pcm16(fields, "audio")) part.sounds.push_back(wav_file(*samples));
}

void read_media(Fields& fields, std::string_view name, MediaKind kind, ItemPart& part) {
  part.media = read_media_url(fields, name, kind);
  if (!comes_with_item(fields, name, part.media)) part.media.reset();
}

ItemPart read_part(const json::object& object, std::string path, Status* error) {
  Fields fields(object, std::move(path), error);
  ItemPart part;
  const std::string type = fields.string("type").value_or("");
  if (type == "input_text" || type == "output_text" || type == "text") {
    read_text(fields, "text", part);
  } else if (type == "output_audio") {
    part.spoken = true;
    read_text(fields, "transcript", part);
  } else if (type == "input_audio") {
    read_sound(fields, part);
  } else if (type == "audio_url") {
    part.spoken = true;
    keep_sound(fields, "audio_url", read_media_url(fields, "audio_url", MediaKind::kAudio), part);
  } else if (type == "input_image" || type == "image_url") {
    read_media(fields, "image_url", MediaKind::kImage, part);
    part.detail = fields.choice("detail", {"auto", "low", "high"}).value_or("");
  } else if (type == "video_url") {
    read_media(fields, "video_url", MediaKind::kVideo, part);
  } else if (fields.ok()) {
    fields.fail("type", fmt::format("`{}` is '{}'; it must be {}.", fields.path_of("type"),
                                    printable(type), kParts));
  }
  if (fields.ok()) fields.finish();
  return part;
}

void read_content(Fields& fields, ConversationItem& item) {
  const json::value* content = fields.any("content");
  if (const auto* text = content ? content->if_string() : nullptr) {
    item.content.push_back(ItemPart::written(std::string(*text)));
    return;
  }
  const json::array* parts = fields.objects("content");
  if (!fields.ok()) return;
  if (!parts || parts->empty()) return fields.missing("content", "an array of content parts");
  for (size_t i = 0; i < parts->size() && fields.ok(); ++i) {
    item.content.push_back(read_part((*parts)[i].get_object(),
                                     fmt::format("{}[{}]", fields.path_of("content"), i),
                                     fields.error()));
  }
}

// The engine's own reader says whether the model could be told it.
Status check_media(const ConversationItem& item, const ModelInfo& model, const std::string& path) {
  const auto has_media = [](const ItemPart& part) { return part.media || !part.sounds.empty(); };
  const InputProcessor* processor = model.engine().input_processor();
  if (!processor || std::none_of(item.content.begin(), item.content.end(), has_media)) return {};
  const Status status =
      processor->prompt_token_ids(ChatPrompt{.messages = {*item.message()}}).status();
  if (status.ok()) return {};
  return Status(status.code(), fmt::format("`{}.content`: {}", path, status.message()))
      .with_param(path + ".content");
}

}  // namespace

std::optional<std::vector<int16_t>> read_pcm16(Fields& fields, std::string_view name) {
  const json::value* audio = fields.any(name);
  if (!audio || !audio->is_string()) {
    audio ? (void)fields.string(name) : fields.missing(name, "base64 of 16-bit samples");
    return std::nullopt;
  }
  const std::string_view text = audio->get_string();
  const auto fail = [&](const std::string& sentence) {
    fields.fail(name, fmt::format("`{}` {}.", fields.path_of(name), sentence));
    return std::nullopt;
  };
  if (static_cast<int64_t>(text.size() / 4 * 3) > kMostAudioBytes)
    return fail(fmt::format("has more than {} MiB of sound", kMostAudioBytes >> 20));
  const auto bytes = decode_base64(text);
  if (!bytes) return fail(fmt::format("is no base64: {}", bytes.error().message()));
  if (bytes->size() % 2 != 0) return fail("has half a sample at its end");
  std::vector<int16_t> samples(bytes->size() / 2);
  if (!samples.empty()) std::memcpy(samples.data(), bytes->data(), bytes->size());
  return samples;
}

std::optional<ConversationItem> read_item(const json::object& object, std::string path,
                                          const ModelInfo& model, Status* error) {
  Fields fields(object, path, error);
  (void)fields.choice("type", {"message"});
  ConversationItem item;
  item.id = fields.string("id").value_or("");
  const auto role = fields.choice("role", {"system", "user", "assistant"});
  if (!role && error->ok()) fields.missing("role", "system, user or assistant");
  item.role = role.value_or("");
  if (error->ok()) read_content(fields, item);
  fields.accept({"object", "status"});
  if (error->ok()) fields.finish();
  if (error->ok()) *error = check_media(item, model, path);
  return error->ok() ? std::optional(std::move(item)) : std::nullopt;
}

}  // namespace tutti::serve
