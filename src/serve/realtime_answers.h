// RealtimeAnswers: the model's side of a realtime session: at most one answer at a time, from the
// conversation so far.
//
// Thread: under the session's lock. Invariant: every response.created is followed by one
// response.done.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "tutti/output.h"

#include "serve/answer.h"
#include "serve/fields.h"
#include "serve/realtime_context.h"
#include "serve/realtime_prompt.h"

namespace tutti::serve {

// An answer that is being produced.
struct RealtimeResponse {
  std::string id;
  std::string item_id;
  bool speech = false;
  bool begun = false;  // its item is in the conversation
  std::string text;
  int64_t samples = 0;
  int32_t sample_rate = kRealtimeRate;
  std::string cancelled;  // why, when it was: "turn_detected" or "client_cancelled"
};

class RealtimeAnswers {
 public:
  RealtimeAnswers(RealtimeContext& context, RealtimePrompt& prompt)
      : context_(context), prompt_(prompt) {}

  // The client's response events.
  void create(Fields& fields);
  void cancel_by_client(Fields& fields);

  bool active() const { return response_.has_value(); }
  // Answers the conversation, unless an answer is under way.
  void start(const RealtimeSettings& settings);
  // Barge-in: the answer ends, and of it only what can have been heard stays in the history.
  void interrupt();

 private:
  using Clock = std::chrono::steady_clock;

  void delta(const std::string& id, const OutputMessage& message);
  void begin_item();
  void send_text(const std::string& text);
  void send_audio(const AudioChunk& audio);
  void cancel(const char* why);
  void done(const std::string& id, const Status& status, const Answer& answer);
  void finish(const char* outcome, const Answer* answer, const Status& error);
  void close_item(const char* outcome);

  boost::json::object response_json(const char* status) const;
  boost::json::object part_json(const std::string& text) const;
  boost::json::object at_part(const char* type) const;
  boost::json::object at_item(const char* type, boost::json::object item) const;

  RealtimeContext& context_;
  RealtimePrompt& prompt_;
  std::optional<RealtimeResponse> response_;
  // Whose sound is being played, as far as the server can know.
  std::string speaking_item_;
  Clock::time_point speaking_since_;
};

// Of a spoken answer so much was heard: what the history keeps of it. Says so.
void truncate(RealtimeContext& context, ConversationItem& item, int64_t heard_ms);

}  // namespace tutti::serve
