// Text in the pieces that a voice reads one after the other.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tutti::serve {

// The sentences of `text` without the space around them: up to and with ".", "!", "?" or "…"
// before space, their full-width forms, or the end of a line. One of more than `most` bytes is
// parted behind its last comma, or else its last space, or between characters. Empty when there is
// nothing but space.
std::vector<std::string> sentences(std::string_view text, size_t most);

}  // namespace tutti::serve
