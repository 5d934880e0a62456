#include "serve/api_key.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>

#include "base/strings.h"

namespace tutti::serve {

// The hash hides the lengths too.
bool equal_in_constant_time(std::string_view a, std::string_view b) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> x{}, y{};
  SHA256(reinterpret_cast<const unsigned char*>(a.data()), a.size(), x.data());
  SHA256(reinterpret_cast<const unsigned char*>(b.data()), b.size(), y.data());
  return CRYPTO_memcmp(x.data(), y.data(), x.size()) == 0;
}

std::string_view api_key_of(const HttpRequest& head) {
  constexpr std::string_view kBearer = "bearer ";  // the scheme's case means nothing (RFC 9110)
  std::string_view value = head.header("authorization");
  if (ascii_lower(value.substr(0, kBearer.size())) == kBearer) {
    value.remove_prefix(kBearer.size());
    return value.substr(std::min(value.find_first_not_of(' '), value.size()));
  }
  constexpr std::string_view kProtocol = "openai-insecure-api-key.";
  const std::string_view protocols = head.header("sec-websocket-protocol");
  const size_t at = protocols.find(kProtocol);
  if (at == std::string_view::npos) return {};
  value = protocols.substr(at + kProtocol.size());
  return value.substr(0, value.find_first_of(", "));
}

}  // namespace tutti::serve
