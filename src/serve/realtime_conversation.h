// Conversation: the items of a realtime session and the input buffer of sound.
//
// Thread: one at a time. Invariants: item ids are unique; what clients put in is
// bounded.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tutti/request.h"
#include "tutti/status.h"

namespace tutti::serve {

using Sound = std::shared_ptr<const std::vector<std::byte>>;  // a WAV file

// One part of an item's content.
struct ItemPart {
  std::string text;                // what was written, or the words of the sound
  bool spoken = false;             // `text` is a transcript; empty while nobody has written it down
  std::vector<Sound> sounds;       // of the person's: one sound in the windows that the model heard
  std::optional<MediaItem> media;  // a picture or a clip, as a data: URL
  std::string detail;              // of a picture, as the client gave it

  static ItemPart written(std::string text) {
    ItemPart part;
    part.text = std::move(text);
    return part;
  }
};

struct ConversationItem {
  enum class State : uint8_t { kInProgress, kCompleted, kIncomplete };

  std::string id;
  std::string role;  // system, user, assistant
  std::vector<ItemPart> content;
  State state = State::kCompleted;
  // Of spoken answers: what was sent, whether that is all, and, when the listener interrupted, what
  // was heard of it.
  int64_t audio_ms = 0;
  bool audio_complete = false;
  std::optional<int64_t> heard_ms;

  // Of the part's words those that were heard.
  std::string heard_text(const ItemPart& part) const;
  // As the model is told it; none when nothing is said in it.
  std::optional<ChatMessage> message() const;
  int64_t bytes() const;
  boost::json::object json() const;
};

// `items` after the instructions, if there are any.
std::vector<ChatMessage> messages_of(const std::string& instructions,
                                     const std::vector<ConversationItem>& items);

class Conversation {
 public:
  static constexpr size_t kMostItems = 1000;
  static constexpr int64_t kMostBytes = 64 << 20;

  // Error: there are as many items, or bytes of them, as a conversation may have.
  Status room_for(int64_t bytes) const;
  // Behind `previous_id`, or at the end when that is empty; false when it is unknown.
  bool insert(ConversationItem item, const std::string& previous_id);
  ConversationItem* find(const std::string& id);
  bool erase(const std::string& id);
  // Id of the item before, empty at the beginning.
  std::string before(const std::string& id) const;
  std::string last() const { return items_.empty() ? "" : items_.back().id; }
  std::vector<ChatMessage> messages(const std::string& instructions) const;

 private:
  std::list<ConversationItem> items_;
};

// Samples that the client has sent and not committed, as 16-bit mono at one rate.
class InputBuffer {
 public:
  explicit InputBuffer(int32_t sample_rate) : sample_rate_(sample_rate) {}
  void append(std::span<const int16_t> samples);
  void clear();
  // Forgets all but the last milliseconds; for silence before speech.
  void keep_last(int64_t ms);
  bool empty() const { return samples_.empty(); }
  int64_t ms() const { return to_ms(static_cast<int64_t>(samples_.size())); }
  // Milliseconds of everything ever appended.
  int64_t total_ms() const { return to_ms(total_); }
  // A WAV file of the part from `begin_ms` to `end_ms` of the whole stream, as far as it is here.
  Sound file(int64_t begin_ms, int64_t end_ms) const;
  int64_t first_ms() const { return total_ms() - ms(); }

 private:
  int64_t to_ms(int64_t samples) const { return 1000 * samples / sample_rate_; }

  const int32_t sample_rate_;
  std::vector<int16_t> samples_;
  int64_t total_ = 0;
};

}  // namespace tutti::serve
