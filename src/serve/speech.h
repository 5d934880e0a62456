// POST /v1/audio/speech and GET /v1/audio/voices.
#pragma once

#include "serve/http.h"
#include "serve/services.h"

namespace tutti::serve {

void handle_speech(const Services& services, HttpRequest request, HttpReplyPtr reply);
void handle_voices(const Services& services, HttpRequest request, HttpReplyPtr reply);

}  // namespace tutti::serve
