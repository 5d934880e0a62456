// POST /v1/responses, GET and DELETE /v1/responses/{id}: text and sound in, text out.
//
// Thread: any.
#pragma once

#include "serve/http.h"
#include "serve/response_store.h"
#include "serve/services.h"

namespace tutti::serve {

void handle_responses(const Services& services, ResponseStore& store, HttpRequest request,
                      HttpReplyPtr reply);
void handle_get_response(ResponseStore& store, HttpRequest request, HttpReplyPtr reply);
void handle_delete_response(ResponseStore& store, HttpRequest request, HttpReplyPtr reply);

}  // namespace tutti::serve
