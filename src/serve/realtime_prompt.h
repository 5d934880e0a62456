// RealtimePrompt: the prompt of the next answer, taken in by the engine while the person still
// speaks. With the turn begins a resumable request that holds the conversation so far; a long turn
// adds its sound in windows; the answer brings the rest. When what was taken in is not how the
// answer's prompt begins (an item was deleted, the session changed), it is let go of, and the
// answer is a request of its own.
//
// Thread: under the session's lock. Invariants: at most one request without an answer is open; an
// answer's sink gets one terminal message.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tutti/request.h"

#include "serve/gateway.h"
#include "serve/realtime_context.h"

namespace tutti::serve {

// The request for an answer to `messages`.
AddRequest answer_request(const RealtimeContext& context, const RealtimeSettings& settings,
                          std::string id, std::vector<ChatMessage> messages);

class EarlyRequest;

class RealtimePrompt {
 public:
  explicit RealtimePrompt(RealtimeContext& context) : context_(context) {}

  // The person begins to speak.
  void begin();
  // A further part of what he says; more follows.
  void append(std::shared_ptr<const std::vector<std::byte>> sound);
  // Answers the prompt of `whole`, whatever has been taken in of it.
  void submit(AddRequest whole, std::shared_ptr<RequestSink> sink);
  // Nobody will ask for an answer to what has been taken in.
  void drop();
  // Nobody wants the running answer any more.
  void abort();

 private:
  void send(const std::shared_ptr<EarlyRequest>& early, StreamingUpdate update);
  // Of `whole` what has not been taken in; none when that is not how it begins.
  std::optional<ChatPrompt> rest_of(const AddRequest& whole) const;
  // What an answer does whose early request came to nothing.
  std::function<void(const std::shared_ptr<RequestSink>&, const Status&)> anew(
      const AddRequest& whole);

  RealtimeContext& context_;
  std::shared_ptr<EarlyRequest> early_;  // that waits for its answer
  std::vector<std::string> answering_;   // ids of the running answer's requests
};

}  // namespace tutti::serve
