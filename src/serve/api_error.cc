#include "serve/api_error.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <cmath>

#include "base/strings.h"
#include "serve/fields.h"

namespace tutti::serve {

namespace {

// By OpenAI's names, which clients tell errors apart by; the engine's own where it has none.
std::string error_code(const Status& status) {
  switch (status.code()) {
    case StatusCode::kInvalidArgument:
      // One that is about no field, like a body that is no JSON, has none.
      if (status.param().empty()) return "";
      return std::string(field_error_code(status));
    case StatusCode::kUnauthenticated:
      return "invalid_api_key";
    case StatusCode::kNotFound:
      if (status.param() == "model") return "model_not_found";
      break;
    case StatusCode::kResourceExhausted:
      return "rate_limit_exceeded";
    default:
      break;
  }
  return ascii_lower(status_code_name(status.code()));
}

}  // namespace

std::string_view error_type(StatusCode code) {
  switch (code) {
    case StatusCode::kUnauthenticated:
      return "authentication_error";
    case StatusCode::kNotFound:
      return "not_found_error";
    case StatusCode::kResourceExhausted:
      return "rate_limit_error";
    case StatusCode::kInternal:
      return "server_error";
    case StatusCode::kUnavailable:
      return "service_unavailable_error";
    case StatusCode::kDeadlineExceeded:
      return "timeout_error";
    default:
      return "invalid_request_error";
  }
}

std::string error_body(const Status& status) {
  boost::json::object error;
  error["message"] = status.message();
  error["type"] = error_type(status.code());
  if (status.param().empty()) {
    error["param"] = nullptr;
  } else {
    error["param"] = status.param();
  }
  const std::string code = error_code(status);
  error["code"] = code.empty() ? boost::json::value(nullptr) : boost::json::value(code);
  return boost::json::serialize(boost::json::object{{"error", std::move(error)}});
}

HttpResponse error_response(const Status& status) {
  HttpResponse response;
  response.status = http_status(status.code());
  response.body = error_body(status);
  const bool may_help =
      status.code() == StatusCode::kResourceExhausted || status.code() == StatusCode::kUnavailable;
  if (may_help) {
    const double seconds = std::max(1.0, std::ceil(status.retry_after_s()));
    response.headers.emplace_back("Retry-After", fmt::format("{:.0f}", seconds));
  }
  return response;
}

std::string printable(std::string_view text) {
  constexpr size_t kMost = 200;
  const bool cut = text.size() > kMost;
  text = text.substr(0, kMost);
  if (cut) text = text.substr(0, utf8_complete_prefix(text));
  std::string out;
  const bool valid = is_valid_utf8(text);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out.push_back(byte < 0x20 || byte == 0x7f || (!valid && byte >= 0x80) ? '?' : c);
  }
  return cut ? out + "..." : out;
}

}  // namespace tutti::serve
