// POST /v1/audio/transcriptions.
#pragma once

#include "serve/http.h"
#include "serve/services.h"

namespace tutti::serve {

void handle_transcriptions(const Services& services, HttpRequest request, HttpReplyPtr reply);

}  // namespace tutti::serve
