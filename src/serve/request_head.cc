#include "serve/request_head.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "serve/api_error.h"

namespace tutti::serve {
namespace {

bool is_letter_or_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// A name or address with or without a port. Without "@", which would be a user, and without ",",
// which would be two hosts in one header.
bool is_host(std::string_view text) {
  static constexpr std::string_view kOthers = "-._~%!$&'()*+;=:[]";
  return std::all_of(text.begin(), text.end(), [](char c) {
    return is_letter_or_digit(c) || kOthers.find(c) != std::string_view::npos;
  });
}

// Of the header Host, in place; a request of HTTP/1.1 has exactly one, which may be empty.
Result<std::string*> find_host(Headers& headers, bool required) {
  std::string* host = nullptr;
  for (auto& [name, value] : headers) {
    if (name != "host") continue;
    if (host) {
      return invalid_argument(
          fmt::format("The request has two headers Host, '{}' and '{}'; it "
                      "must have one.",
                      printable(*host), printable(value)));
    }
    host = &value;
  }
  if (!host && required) {
    return invalid_argument("The request has no header Host; HTTP/1.1 requires one.");
  }
  if (host && !is_host(*host)) {
    return invalid_argument(
        fmt::format("The header Host is '{}'; it must be HOST or HOST:PORT.", printable(*host)));
  }
  return host;
}

// What follows "http://" or "https://"; empty: the target has no such form.
std::string_view without_scheme(std::string_view target) {
  constexpr std::string_view kMark = "://";
  const size_t mark = target.find(kMark);
  if (mark == std::string_view::npos) return {};
  const std::string scheme = ascii_lower(target.substr(0, mark));
  return scheme == "http" || scheme == "https" ? target.substr(mark + kMark.size())
                                               : std::string_view();
}

}  // namespace

Result<HttpRequest> make_head(std::string method, std::string_view target, Headers headers,
                              bool http_1_1) {
  HttpRequest head;
  head.method = std::move(method);
  head.headers = std::move(headers);
  TUTTI_ASSIGN_OR_RETURN(std::string * host, find_host(head.headers, http_1_1));
  if (target == "*" && head.method == "OPTIONS") {
    head.path = "*";
    return head;
  }
  if (const std::string_view rest = without_scheme(target); !rest.empty()) {
    const size_t end = std::min(rest.find_first_of("/?"), rest.size());
    const std::string_view authority = rest.substr(0, end);
    if (authority.empty() || !is_host(authority)) {
      return invalid_argument(
          fmt::format("The target '{}' names no host and port.", printable(target)));
    }
    if (!host) host = &head.headers.emplace_back("host", "").second;
    *host = authority;
    target = rest.substr(end);
    if (target.empty()) target = "/";
  } else if (!target.starts_with('/')) {
    return invalid_argument(
        fmt::format("The target '{}' begins with neither '/' nor http://.", printable(target)));
  }
  const size_t question = target.find('?');
  if (question != std::string_view::npos) head.query = std::string(target.substr(question + 1));
  const std::string_view encoded = target.substr(0, question);
  std::optional<std::string> path = percent_decode(encoded.empty() ? "/" : encoded, false);
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (!path || !is_valid_utf8(*path) || std::any_of(path->begin(), path->end(), is_control)) {
    return invalid_argument("The path is not percent-encoded UTF-8 without control characters.");
  }
  head.path = std::move(*path);
  return head;
}

}  // namespace tutti::serve
