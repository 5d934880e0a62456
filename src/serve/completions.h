// POST /v1/completions: text that is continued as it is, without a chat template.
#pragma once

#include "serve/http.h"
#include "serve/services.h"

namespace tutti::serve {

void handle_completions(const Services& services, HttpRequest request, HttpReplyPtr reply);

}  // namespace tutti::serve
