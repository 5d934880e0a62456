// POST /tokenize and POST /detokenize.
#pragma once

#include "serve/http.h"
#include "serve/services.h"

namespace tutti::serve {

void handle_tokenize(const Services& services, HttpRequest request, HttpReplyPtr reply);
void handle_detokenize(const Services& services, HttpRequest request, HttpReplyPtr reply);

}  // namespace tutti::serve
