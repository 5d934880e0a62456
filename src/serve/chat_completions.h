// POST /v1/chat/completions.
#pragma once

#include "serve/http.h"
#include "serve/services.h"

namespace tutti::serve {

void handle_chat_completions(const Services& services, HttpRequest request, HttpReplyPtr reply);

}  // namespace tutti::serve
