// The one error schema: OpenAI's {"error": {message, type, param, code}}, from a Status.
#pragma once

#include <string>
#include <string_view>

#include "tutti/status.h"

#include "serve/http.h"

namespace tutti::serve {

// The JSON object alone, for streams and sockets.
std::string error_body(const Status& status);
// With the status code that fits, and Retry-After where a retry may help.
HttpResponse error_response(const Status& status);
// At most 200 bytes of what a client sent, with control characters and broken UTF-8 replaced, for
// messages.
std::string printable(std::string_view text);
// "invalid_request_error", ...
std::string_view error_type(StatusCode code);

}  // namespace tutti::serve
