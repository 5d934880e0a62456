// Transcripts: the words of spoken answers by their audio ids, so that a client may send the id of
// an earlier answer instead of its text.
//
// Thread: any. Invariant: at most so many, none older than an hour.
#pragma once

#include <chrono>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

namespace tutti::serve {

class Transcripts {
 public:
  static constexpr std::chrono::hours kLife{1};

  void put(const std::string& id, std::string text) {
    constexpr size_t kMost = 1024;
    const std::lock_guard lock(mutex_);
    order_.push_back(id);
    texts_[id] = {std::move(text), Clock::now() + kLife};
    if (order_.size() > kMost) {
      texts_.erase(order_.front());
      order_.pop_front();
    }
  }
  std::optional<std::string> get(const std::string& id) const {
    const std::lock_guard lock(mutex_);
    const auto found = texts_.find(id);
    if (found == texts_.end() || found->second.expires < Clock::now()) return std::nullopt;
    return found->second.text;
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Entry {
    std::string text;
    Clock::time_point expires;
  };
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Entry> texts_;
  std::deque<std::string> order_;
};

}  // namespace tutti::serve
