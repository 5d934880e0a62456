// Writing JSON by hand, for what goes out once per token.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tutti::serve {

// With quotes; broken UTF-8 becomes U+FFFD.
void append_json_string(std::string& out, std::string_view text);
void append_base64(std::string& out, std::span<const std::byte> bytes);
// 16-bit little-endian samples; beyond -1..1 is clipped.
std::string pcm16(std::span<const float> samples);

}  // namespace tutti::serve
