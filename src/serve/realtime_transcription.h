// RealtimeTranscription: what the person said, in words: a request of its own beside the answer.
//
// Thread: under the session's lock.
#pragma once

#include <set>
#include <string>

#include "serve/answer.h"
#include "serve/realtime_context.h"

namespace tutti::serve {

class RealtimeTranscription {
 public:
  explicit RealtimeTranscription(RealtimeContext& context) : context_(context) {}

  // `sound`: the item's, as a WAV file. Its words come as events.
  void begin(const std::string& item_id, Sound sound);
  // At the session's end.
  void abort_all();

 private:
  void end(const std::string& request_id, const std::string& item_id, const Status& status,
           const Answer& answer);

  RealtimeContext& context_;
  std::set<std::string> live_;  // request ids
};

}  // namespace tutti::serve
