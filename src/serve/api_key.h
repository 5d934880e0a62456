// API keys: where requests carry them, and how they are compared.
#pragma once

#include <string_view>

#include "serve/http.h"

namespace tutti::serve {

// The key of the header Authorization, or, because browsers cannot set headers on a WebSocket, of
// the subprotocol that OpenAI's clients use; empty: none.
std::string_view api_key_of(const HttpRequest& head);
// In a time that depends on neither.
bool equal_in_constant_time(std::string_view a, std::string_view b);

}  // namespace tutti::serve
