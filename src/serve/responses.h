// POST /v1/responses, GET and DELETE /v1/responses/{id}: text and sound in, text out.
//
// Thread: any. The conversations behind `previous_response_id` are kept in memory, the latest ones.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "tutti/request.h"

#include "serve/http.h"
#include "serve/services.h"

namespace tutti::serve {

// What is kept of an answered response.
struct StoredResponse {
  std::vector<ChatMessage> messages;  // the whole conversation, answer included
  std::string body;                   // the response object
};

class ResponseStore {
 public:
  void put(const std::string& id, StoredResponse response);
  std::shared_ptr<const StoredResponse> get(const std::string& id) const;
  bool erase(const std::string& id);

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const StoredResponse>> responses_;
  std::deque<std::string> order_;
};

void handle_responses(const Services& services, ResponseStore& store, HttpRequest request,
                      HttpReplyPtr reply);
void handle_get_response(ResponseStore& store, HttpRequest request, HttpReplyPtr reply);
void handle_delete_response(ResponseStore& store, HttpRequest request, HttpReplyPtr reply);

}  // namespace tutti::serve
