#include "media/data_url.h"

#include <fmt/format.h>

#include <array>

#include "base/strings.h"
#include "media/media_file.h"

namespace tutti {
namespace {

constexpr std::string_view kScheme = "data";
constexpr std::string_view kBase64 = ";base64";
constexpr uint8_t kWrong = 255;

// Digits of both alphabets (RFC 4648, sections 4 and 5).
constexpr std::array<uint8_t, 256> make_digits() {
  std::array<uint8_t, 256> digits{};
  digits.fill(kWrong);
  const std::string_view alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < alphabet.size(); ++i) {
    digits[static_cast<uint8_t>(alphabet[i])] = static_cast<uint8_t>(i);
  }
  digits['-'] = 62;
  digits['_'] = 63;
  return digits;
}
constexpr std::array<uint8_t, 256> kDigits = make_digits();

bool is_scheme_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
         c == '-' || c == '.';
}

}  // namespace

Result<std::vector<std::byte>> decode_base64(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::vector<std::byte> out;
  out.reserve(text.size() / 4 * 3 + 2);
  uint32_t bits = 0;
  int count = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const uint8_t digit = kDigits[static_cast<uint8_t>(text[i])];
    if (digit == kWrong) {
      return invalid_argument(fmt::format("byte {} at place {} is no base64",
                                          static_cast<int>(static_cast<uint8_t>(text[i])), i));
    }
    bits = bits << 6 | digit;
    if ((count += 6) < 8) continue;
    count -= 8;
    out.push_back(static_cast<std::byte>(bits >> count & 255));
  }
  return out;
}

std::string url_scheme(std::string_view path_or_url) {
  const size_t colon = path_or_url.find(':');
  if (colon == std::string_view::npos || colon == 0) return {};
  const std::string_view scheme = path_or_url.substr(0, colon);
  for (const char c : scheme) {
    if (!is_scheme_character(c)) return {};
  }
  const std::string lower = ascii_lower(scheme);
  const bool is_url = lower == kScheme || path_or_url.substr(colon).starts_with("://");
  return is_url ? lower : std::string();
}

Result<std::vector<std::byte>> decode_data_url(std::string_view url, int64_t max_bytes) {
  const size_t comma = url.find(',');
  const std::string_view head = url.substr(0, comma);
  if (url_scheme(url) != kScheme || comma == std::string_view::npos || !head.ends_with(kBase64)) {
    return invalid_argument("the URL is no 'data:TYPE;base64,DATA'");
  }
  const std::string_view data = url.substr(comma + 1);
  if (static_cast<int64_t>(data.size() / 4 * 3) > max_bytes) {
    return payload_too_large(fmt::format("the data URL has about {}; allowed are {}",
                                         human_bytes(static_cast<double>(data.size() / 4 * 3)),
                                         human_bytes(static_cast<double>(max_bytes))));
  }
  auto bytes = decode_base64(data);
  if (!bytes) return std::move(bytes).error().with_context("the data URL's data");
  return bytes;
}

}  // namespace tutti
