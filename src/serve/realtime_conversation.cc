#include "serve/realtime_conversation.h"

#include <algorithm>

#include "base/strings.h"
#include "media/audio_encoder.h"

namespace tutti::serve {

namespace json = boost::json;

std::string ConversationItem::heard_text() const {
  // Words are known before their sound: of an answer that was cut off nobody knows how long it
  // would have been, so it counts as long as people need for the words.
  constexpr int64_t kCharactersPerSecond = 15;
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

json::object ConversationItem::json() const {
  json::array content;
  if (!sounds.empty()) {
    content.push_back(
        json::object{{"type", "input_audio"},
                     {"transcript", text.empty() ? json::value(nullptr) : json::value(text)}});
  } else if (role == "assistant") {
    content.push_back(audio_ms > 0
                          ? json::object{{"type", "output_audio"}, {"transcript", heard_text()}}
                          : json::object{{"type", "output_text"}, {"text", text}});
  } else {
    content.push_back(json::object{{"type", "input_text"}, {"text", text}});
  }
  for (size_t i = 0; i < pictures.size(); ++i)
    content.push_back(json::object{{"type", "input_image"}});
  return {{"id", id},          {"object", "realtime.item"},
          {"type", "message"}, {"status", complete ? "completed" : "incomplete"},
          {"role", role},      {"content", std::move(content)}};
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
  std::vector<ChatMessage> out;
  if (!instructions.empty()) out.push_back(ChatMessage::text("system", instructions));
  for (const ConversationItem& item : items_) {
    ChatMessage message;
    message.role = item.role;
    for (const Sound& sound : item.sounds) {
      MediaItem audio;
      audio.kind = MediaKind::kAudio;
      audio.bytes = sound;
      message.content.push_back({"", std::move(audio)});
    }
    for (const MediaItem& picture : item.pictures) message.content.push_back({"", picture});
    // What the model heard needs no transcript beside it.
    if (std::string heard = item.heard_text(); !heard.empty() && item.sounds.empty())
      message.content.push_back({std::move(heard), std::nullopt});
    if (!message.content.empty()) out.push_back(std::move(message));
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
