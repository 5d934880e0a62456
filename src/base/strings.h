// Small string helpers shared by parsers and error messages.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tutti {

// "a, b, c"
std::string join(std::span<const std::string> parts, std::string_view separator = ", ");
// Lower-case of the ASCII letters; other bytes stay.
std::string ascii_lower(std::string_view text);
// The candidate with the smallest edit distance to `word`, or empty when nothing is close (more
// than half of the word would have to change). For "unknown X; did you mean Y?".
std::string nearest(std::string_view word, std::span<const std::string> candidates);
// "3.2 GB", "512 KB"; decimal units.
std::string human_bytes(double bytes);
// Length of the longest prefix of `bytes` that does not end inside a UTF-8 sequence.
size_t utf8_complete_prefix(std::string_view bytes);
bool is_valid_utf8(std::string_view bytes);

}  // namespace tutti
