#include "serve/origin_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "serve/api_error.h"

namespace tutti::serve {
namespace {

constexpr std::string_view kAny = "*";

// "localhost" of "LocalHost:8091", "[::1]" of "[::1]:8091".
std::string name_of(std::string_view host) {
  const size_t end = host.starts_with('[') ? host.find(']') + 1 : host.find(':');
  return ascii_lower(host.substr(0, end));
}

bool is_loopback(std::string_view host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

// What OpenAI's clients send from a browser beside the usual.
bool is_client_header(std::string_view lower_name) {
  return lower_name.starts_with("x-stainless-") || lower_name.starts_with("openai-") ||
         lower_name == "x-request-id" || lower_name == "idempotency-key";
}

std::string allowed_headers(std::string_view wanted) {
  std::string out = "Authorization, Content-Type, Last-Event-ID";
  while (!wanted.empty()) {
    const size_t comma = wanted.find(',');
    std::string_view name = wanted.substr(0, comma);
    wanted.remove_prefix(comma == std::string_view::npos ? wanted.size() : comma + 1);
    while (name.starts_with(' ')) name.remove_prefix(1);
    while (name.ends_with(' ')) name.remove_suffix(1);
    if (const std::string lower = ascii_lower(name); is_client_header(lower)) out += ", " + lower;
  }
  return out;
}

}  // namespace

OriginCheck::OriginCheck(OriginRules rules) : rules_(std::move(rules)) {
  const std::vector<std::string>& origins = rules_.cors_origins;
  const bool any = std::find(origins.begin(), origins.end(), kAny) != origins.end();
  // Only a name that leads to this machine alone can be told from one that was made up.
  if (any || !is_loopback(rules_.host)) return;
  hosts_ = {"localhost", "127.0.0.1", "[::1]"};
  hosts_.push_back(rules_.host.find(':') == std::string::npos ? ascii_lower(rules_.host)
                                                              : "[" + rules_.host + "]");
  // A proxy in front passes the name of its own on.
  for (const std::string_view origin : origins) {
    const size_t scheme = origin.find("://");
    if (scheme != std::string_view::npos) hosts_.push_back(name_of(origin.substr(scheme + 3)));
  }
}

Status OriginCheck::check_host(std::string_view host) const {
  if (hosts_.empty() || host.empty()) return {};
  if (std::find(hosts_.begin(), hosts_.end(), name_of(host)) != hosts_.end()) return {};
  return invalid_argument(
      fmt::format("The request is for the host '{}'; this server listens for this machine alone, "
                  "as localhost. --host lets others in; --cors-origin names a proxy's origin.",
                  printable(host)));
}

Status OriginCheck::check(const HttpRequest& head, bool upgrade) const {
  const std::string_view host = head.header("host");
  TUTTI_RETURN_IF_ERROR(check_host(host));
  const bool reads = head.method == "GET" || head.method == "HEAD" || head.method == "OPTIONS";
  const std::string_view origin = head.header("origin");
  if (origin.empty() || (reads && !upgrade) || allowed_origin(head)) return {};
  const std::string own = fmt::format("{}://{}", rules_.tls ? "https" : "http", host);
  if (ascii_lower(origin) == ascii_lower(own)) return {};
  return invalid_argument(fmt::format(
      "The page is of the origin '{}', which may not call; --cors-origin names those that may.",
      printable(origin)));
}

const std::string* OriginCheck::allowed_origin(const HttpRequest& head) const {
  const std::string_view origin = head.header("origin");
  if (origin.empty()) return nullptr;
  for (const std::string& allowed : rules_.cors_origins) {
    if (allowed == kAny || allowed == origin) return &allowed;
  }
  return nullptr;
}

void OriginCheck::decorate(const HttpRequest& head, Headers& headers) const {
  const std::string* origin = allowed_origin(head);
  if (!origin) return;
  headers.emplace_back("Access-Control-Allow-Origin", *origin);
  headers.emplace_back("Vary", "Origin");
  if (head.method != "OPTIONS") {
    headers.emplace_back("Access-Control-Expose-Headers", "X-Request-Id, Retry-After");
    return;
  }
  headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
  headers.emplace_back("Access-Control-Allow-Headers",
                       allowed_headers(head.header("access-control-request-headers")));
  headers.emplace_back("Access-Control-Max-Age", "600");
}

}  // namespace tutti::serve
