// The head of a request as the router sees it, from what the parser has taken apart: which form the
// target has, its path, and the host that the request is for (RFC 9112, 3.2).
//
// Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "tutti/status.h"

#include "serve/http.h"

namespace tutti::serve {

// `headers`: names in lower case. The path is that of "/path", of "http://host/path", whose host
// takes the place of the header Host, or "*" for OPTIONS. Error: a target that no server can look
// up, or a Host that is missing (`http_1_1`), given twice, or no host.
Result<HttpRequest> make_head(std::string method, std::string_view target, Headers headers,
                              bool http_1_1);

}  // namespace tutti::serve
