#include "serve/unparsed_request.h"

#include <fmt/format.h>

#include <boost/beast/http/error.hpp>

#include "base/strings.h"
#include "serve/api_error.h"

namespace tutti::serve {

namespace beast = boost::beast;
namespace http = beast::http;

namespace {

// A status that the schema's codes don't have.
HttpResponse refuse(const Status& status, int code) {
  HttpResponse response = error_response(status);
  response.status = code;
  return response;
}

}  // namespace

HttpResponse unparsed_refusal(beast::error_code error, const HttpServerOptions& options) {
  if (error == http::error::header_limit) {
    return refuse(
        Status(StatusCode::kPayloadTooLarge,
               fmt::format("The headers have more than {} bytes.", options.max_header_bytes)),
        431);
  }
  if (error == http::error::body_limit) {
    return error_response(
        Status(StatusCode::kPayloadTooLarge,
               fmt::format("The body has more than {}; --max-body-mb sets the limit.",
                           human_bytes(static_cast<double>(options.max_body_bytes)))));
  }
  if (error == beast::error::timeout) {
    return refuse(deadline_exceeded("The request did not arrive in time."), 408);
  }
  return error_response(
      invalid_argument(fmt::format("This is no HTTP/1.1 request: {}.", error.message())));
}

}  // namespace tutti::serve
