#include "serve/realtime_conversation.h"

#include <algorithm>

#include "base/strings.h"
#include "media/audio_encoder.h"

namespace tutti::serve {

namespace json = boost::json;

std::string ConversationItem::heard_text() const {
  if (!heard_ms || audio_ms == 0 || *heard_ms >= audio_ms) return text;
  // Speech runs evenly enough: the share of the sound is the share of the words, whole ones.
  auto count = static_cast<size_t>(static_cast<double>(text.size()) *
                                   static_cast<double>(*heard_ms) / static_cast<double>(audio_ms));
  count = utf8_complete_prefix(std::string_view(text).substr(0, count));
  const size_t space = text.rfind(' ', count);
  return text.substr(0, space == std::string::npos ? 0 : space);
}

json::object ConversationItem::json() const {
  json::array content;
  if (sound) {
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
    if (item.sound) {
      MediaItem sound;
      sound.kind = MediaKind::kAudio;
      sound.bytes = item.sound;
      message.content.push_back({"", std::move(sound)});
    }
    for (const MediaItem& picture : item.pictures) message.content.push_back({"", picture});
    // What the model heard needs no transcript beside it.
    if (!item.text.empty() && !item.sound)
      message.content.push_back({item.heard_text(), std::nullopt});
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

std::shared_ptr<const std::vector<std::byte>> InputBuffer::take(int64_t begin_ms) {
  const int64_t first = total_ - static_cast<int64_t>(samples_.size());
  const int64_t begin = std::clamp<int64_t>(begin_ms * sample_rate_ / 1000 - first, 0,
                                            static_cast<int64_t>(samples_.size()));
  const std::span<const int16_t> sound = std::span(samples_).subspan(static_cast<size_t>(begin));
  std::vector<float> values(sound.size());
  std::transform(sound.begin(), sound.end(), values.begin(),
                 [](int16_t sample) { return static_cast<float>(sample) / 32767.0f; });
  const std::string file = *encode_audio(AudioFormat::kWav, sample_rate_, values);
  const auto bytes = std::as_bytes(std::span(file));
  auto out = std::make_shared<std::vector<std::byte>>(bytes.begin(), bytes.end());
  samples_.clear();
  return out;
}

}  // namespace tutti::serve
