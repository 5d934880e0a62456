// Conversation: the items of a realtime session and the input buffer of sound.
//
// Thread: one at a time. Invariants: item ids are unique; the buffer is bounded.
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

namespace tutti::serve {

using Sound = std::shared_ptr<const std::vector<std::byte>>;  // a WAV file

struct ConversationItem {
  std::string id;
  std::string role;  // system, user, assistant
  std::string text;
  std::vector<Sound> sounds;  // of user items that were spoken, in the parts the model heard
  std::vector<MediaItem> pictures;
  bool complete = true;
  // Of spoken answers: what was sent, whether that is all, and, when the listener interrupted, what
  // was heard of it.
  int64_t audio_ms = 0;
  bool audio_complete = false;
  std::optional<int64_t> heard_ms;

  // The words that were heard.
  std::string heard_text() const;
  boost::json::object json() const;
};

class Conversation {
 public:
  // Behind `previous_id`, or at the end when that is empty; false when it is unknown.
  bool insert(ConversationItem item, const std::string& previous_id);
  ConversationItem* find(const std::string& id);
  bool erase(const std::string& id);
  // Id of the item before, empty at the beginning.
  std::string before(const std::string& id) const;
  std::string last() const { return items_.empty() ? "" : items_.back().id; }
  std::vector<ChatMessage> messages(const std::string& instructions) const;
  size_t size() const { return items_.size(); }

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
