#include "base/http_url.h"

#include <algorithm>

#include "base/strings.h"

namespace tutti {
namespace {

constexpr size_t kMostUrlBytes = 4096;

bool is_plain(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7F; });
}

std::string_view default_port(bool secure) { return secure ? "443" : "80"; }

}  // namespace

std::string HttpUrl::host_header() const {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == default_port(secure) ? name : name + ":" + port;
}

std::optional<HttpUrl> parse_http_url(std::string_view text) {
  if (text.size() > kMostUrlBytes || !is_plain(text)) return std::nullopt;
  HttpUrl url;
  const std::string scheme = ascii_lower(text.substr(0, text.find("://")));
  url.secure = scheme == "https";
  if ((!url.secure && scheme != "http") || scheme.size() == text.size()) return std::nullopt;
  std::string_view rest = text.substr(scheme.size() + 3);
  rest = rest.substr(0, rest.find('#'));
  const size_t end = std::min(rest.find_first_of("/?\\"), rest.size());
  const std::string_view authority = rest.substr(0, end);
  if (authority.find('@') != std::string_view::npos || rest.substr(end).starts_with('\\')) {
    return std::nullopt;
  }
  url.target = rest.substr(end);
  if (!url.target.starts_with('/')) url.target.insert(0, "/");
  const bool bracketed = authority.starts_with('[');
  const size_t host_end =
      bracketed ? authority.find(']') : std::min(authority.find(':'), authority.size());
  if (host_end == std::string_view::npos) return std::nullopt;
  url.host = ascii_lower(authority.substr(bracketed ? 1 : 0, host_end - (bracketed ? 1 : 0)));
  std::string_view port = authority.substr(host_end + (bracketed ? 1 : 0));
  if (port.starts_with(':')) port.remove_prefix(1);
  url.port = port.empty() ? default_port(url.secure) : port;
  const bool digits = std::ranges::all_of(url.port, [](char c) { return c >= '0' && c <= '9'; });
  if (url.host.empty() || !digits || url.port.size() > 5) return std::nullopt;
  return url;
}

}  // namespace tutti
