// What is said to bytes that are no request. One of the server's own files.
#pragma once

#include <boost/beast/core/error.hpp>

#include "serve/http.h"
#include "serve/http_server.h"

namespace tutti::serve {

// The answer to a request that the parser has given up on, or that did not come in time.
HttpResponse unparsed_refusal(boost::beast::error_code error, const HttpServerOptions& options);

}  // namespace tutti::serve
