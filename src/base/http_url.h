// http:// and https:// URLs, taken apart.
//
// Thread: plain data and free functions, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tutti {

struct HttpUrl {
  bool secure = false;
  std::string host;    // lower case, without brackets
  std::string port;    // digits; the scheme's own when the URL names none
  std::string target;  // path and query, "/" at least

  // What the header Host says: brackets around IPv6, no port that is the scheme's own.
  std::string host_header() const;
};

// None for another scheme, an empty host, a port that is none, names and passwords (they make a
// host look like another), spaces and control characters, or more than 4096 bytes.
std::optional<HttpUrl> parse_http_url(std::string_view text);

}  // namespace tutti
