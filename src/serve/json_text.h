// Writing JSON by hand, for what goes out once per token.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tutti::serve {

// Broken UTF-8 becomes U+FFFD.
std::string valid_utf8(std::string_view text);
// Of UTF-8.
size_t num_characters(std::string_view text);
// With quotes, and as valid UTF-8.
void append_json_string(std::string& out, std::string_view text);
void append_base64(std::string& out, std::span<const std::byte> bytes);

}  // namespace tutti::serve
