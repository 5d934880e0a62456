#include "engine/ar/stop_strings.h"

#include <algorithm>

namespace tutti::ar {

StopStrings::StopStrings(std::vector<std::string> stops, bool include)
    : stops_(std::move(stops)), include_(include) {}

const std::string* StopStrings::push(std::string_view text, std::string& shown) {
  held_ += text;
  const Match match = find();
  if (match.stop != nullptr) {
    shown.append(held_, 0, include_ ? match.end : match.begin);
    held_.clear();
    return match.stop;
  }
  const size_t show = held_.size() - length_to_hold();
  shown.append(held_, 0, show);
  held_.erase(0, show);
  return nullptr;
}

void StopStrings::pass(std::string_view text, std::string& shown) {
  flush(shown);
  shown += text;
}

void StopStrings::flush(std::string& shown) {
  shown += held_;
  held_.clear();
}

StopStrings::Match StopStrings::find() const {
  Match best;
  for (const std::string& stop : stops_) {
    const size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    const Match match{begin, begin + stop.size(), &stop};
    if (best.stop == nullptr || match.end < best.end ||
        (match.end == best.end && match.begin < best.begin))
      best = match;
  }
  return best;
}

// The longest end of the text that begins a stop string.
size_t StopStrings::length_to_hold() const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > longest; --n) {
      if (std::string_view(held_).substr(held_.size() - n) == std::string_view(stop).substr(0, n))
        longest = n;
    }
  }
  return longest;
}

}  // namespace tutti::ar
