#include "serve/realtime_conversation.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "media/audio_encoder.h"
#include "serve/json_text.h"
#include "serve/realtime_events.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

std::string_view state_name(ConversationItem::State state) {
  switch (state) {
    case ConversationItem::State::kInProgress:
      return "in_progress";
    case ConversationItem::State::kCompleted:
      return "completed";
    default:
      return "incomplete";
  }
}

json::object media_json(const ItemPart& part) {
  const std::string& url = part.media->path_or_url;
  if (part.media->kind != MediaKind::kImage)
    return {{"type", "video_url"}, {"video_url", {{"url", url}}}};
  json::object out{{"type", "input_image"}, {"image_url", url}};
  if (!part.detail.empty()) out["detail"] = part.detail;
  return out;
}

}  // namespace

std::string ConversationItem::heard_text(const ItemPart& part) const {
  // Words are known before their sound: of an answer that was cut off nobody knows how long it
  // would have been, so it counts as long as people need for the words.
  constexpr int64_t kCharactersPerSecond = 15;
  const std::string& text = part.text;
  const auto size = static_cast<int64_t>(text.size());
  const int64_t whole_ms =
      audio_complete ? audio_ms : std::max(audio_ms, 1000 * size / kCharactersPerSecond);
  if (!heard_ms || *heard_ms >= whole_ms) return text;
  // Speech runs evenly enough: the share of the sound is the share of the words, whole ones.
  auto count = static_cast<size_t>(size * *heard_ms / whole_ms);
  count = utf8_complete_prefix(std::string_view(text).substr(0, count));
  const size_t space = text.rfind(' ', count);
  return text.substr(0, space == std::string::npos ? 0 : space);
}

std::optional<ChatMessage> ConversationItem::message() const {
  ChatMessage out;
  out.role = role;
  for (const ItemPart& part : content) {
    for (const Sound& sound : part.sounds) {
      MediaItem audio;
      audio.kind = MediaKind::kAudio;
      audio.bytes = sound;
      out.content.push_back({"", std::move(audio)});
    }
    if (part.media) out.content.push_back({"", part.media});
    // What the model heard needs no transcript beside it.
    if (!part.sounds.empty() || part.media) continue;
    if (std::string heard = heard_text(part); !heard.empty())
      out.content.push_back({std::move(heard), std::nullopt});
  }
  return out.content.empty() ? std::nullopt : std::optional(std::move(out));
}

int64_t ConversationItem::bytes() const {
  size_t sum = 0;
  for (const ItemPart& part : content) {
    sum += part.text.size();
    if (part.media) sum += part.media->path_or_url.size();
    for (const Sound& sound : part.sounds) sum += sound->size();
  }
  return static_cast<int64_t>(sum);
}

json::object ConversationItem::json() const {
  const bool answer = role == "assistant";
  json::array parts;
  for (const ItemPart& part : content) {
    if (part.media) {
      parts.push_back(media_json(part));
    } else if (part.spoken && answer) {
      parts.push_back(
          json::object{{"type", "output_audio"}, {"transcript", valid_utf8(heard_text(part))}});
    } else if (part.spoken) {
      parts.push_back(
          json::object{{"type", "input_audio"}, {"transcript", or_null(valid_utf8(part.text))}});
    } else {
      parts.push_back(json::object{{"type", answer ? "output_text" : "input_text"},
                                   {"text", valid_utf8(part.text)}});
    }
  }
  return {{"id", id},          {"object", "realtime.item"},
          {"type", "message"}, {"status", state_name(state)},
          {"role", role},      {"content", std::move(parts)}};
}

std::vector<ChatMessage> messages_of(const std::string& instructions,
                                     const std::vector<ConversationItem>& items) {
  std::vector<ChatMessage> out;
  if (!instructions.empty()) out.push_back(ChatMessage::text("system", instructions));
  for (const ConversationItem& item : items) {
    if (auto message = item.message()) out.push_back(std::move(*message));
  }
  return out;
}

Status Conversation::room_for(int64_t bytes) const {
  if (items_.size() >= kMostItems) {
    return invalid_argument(
        fmt::format("The conversation has {} items, which is the most; delete some.", kMostItems));
  }
  int64_t sum = bytes;
  for (const ConversationItem& item : items_) sum += item.bytes();
  if (sum <= kMostBytes) return {};
  return invalid_argument(fmt::format("The conversation would have {}; it has at most {}.",
                                      human_bytes(static_cast<double>(sum)),
                                      human_bytes(static_cast<double>(kMostBytes))));
}

bool Conversation::insert(ConversationItem item, const std::string& previous_id) {
  auto at = items_.end();
  if (previous_id == "root") {
    at = items_.begin();
  } else if (!previous_id.empty()) {
    at = std::find_if(items_.begin(), items_.end(), [&](auto& i) { return i.id == previous_id; });
    if (at == items_.end()) return false;
    ++at;
  }
  items_.insert(at, std::move(item));
  return true;
}

ConversationItem* Conversation::find(const std::string& id) {
  const auto at = std::find_if(items_.begin(), items_.end(), [&](auto& i) { return i.id == id; });
  return at == items_.end() ? nullptr : &*at;
}

bool Conversation::erase(const std::string& id) {
  return std::erase_if(items_, [&](const ConversationItem& i) { return i.id == id; }) > 0;
}

std::string Conversation::before(const std::string& id) const {
  std::string previous;
  for (const ConversationItem& item : items_) {
    if (item.id == id) return previous;
    previous = item.id;
  }
  return previous;
}

std::vector<ChatMessage> Conversation::messages(const std::string& instructions) const {
  std::vector<ChatMessage> out = messages_of(instructions, {});
  for (const ConversationItem& item : items_) {
    if (auto message = item.message()) out.push_back(std::move(*message));
  }
  return out;
}

void InputBuffer::append(std::span<const int16_t> samples) {
  samples_.insert(samples_.end(), samples.begin(), samples.end());
  total_ += static_cast<int64_t>(samples.size());
}

void InputBuffer::clear() { samples_.clear(); }

void InputBuffer::keep_last(int64_t ms) {
  const auto keep = static_cast<size_t>(ms * sample_rate_ / 1000);
  if (samples_.size() <= keep) return;
  samples_.erase(samples_.begin(), samples_.end() - static_cast<std::ptrdiff_t>(keep));
}

Sound InputBuffer::file(int64_t begin_ms, int64_t end_ms) const {
  const auto size = static_cast<int64_t>(samples_.size());
  const auto place = [&](int64_t ms) {
    return static_cast<size_t>(
        std::clamp<int64_t>(ms * sample_rate_ / 1000 - (total_ - size), 0, size));
  };
  const size_t begin = place(begin_ms);
  const std::span<const int16_t> part =
      std::span(samples_).subspan(begin, std::max(place(end_ms), begin) - begin);
  std::vector<float> values(part.size());
  std::transform(part.begin(), part.end(), values.begin(),
                 [](int16_t sample) { return static_cast<float>(sample) / 32767.0f; });
  const std::string file = *encode_audio(AudioFormat::kWav, sample_rate_, values);
  const auto bytes = std::as_bytes(std::span(file));
  return std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
}

}  // namespace tutti::serve
