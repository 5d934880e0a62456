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

struct ConversationItem {
  std::string id;
  std::string role;  // system, user, assistant
  std::string text;
  std::shared_ptr<const std::vector<std::byte>> sound;  // WAV; of user items that were spoken
  std::vector<MediaItem> pictures;
  bool complete = true;
  // Of spoken answers: what was sent, and, when the listener interrupted, what was heard of it.
  int64_t audio_ms = 0;
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
  // A WAV file of what was sent from `begin_ms` of the whole stream on; the buffer is empty then.
  std::shared_ptr<const std::vector<std::byte>> take(int64_t begin_ms);

 private:
  int64_t to_ms(int64_t samples) const { return 1000 * samples / sample_rate_; }

  const int32_t sample_rate_;
  std::vector<int16_t> samples_;
  int64_t total_ = 0;
};

}  // namespace tutti::serve
