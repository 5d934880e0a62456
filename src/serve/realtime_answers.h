// RealtimeAnswers: the model's side of a realtime session: at most one answer at a time within the
// conversation, and a few beside it (`conversation: "none"`).
//
// Thread: under the session's lock. Invariant: every response.created is followed by one
// response.done.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tutti/output.h"

#include "media/time_stretch.h"
#include "serve/answer.h"
#include "serve/realtime_context.h"
#include "serve/realtime_order.h"
#include "serve/realtime_prompt.h"

namespace tutti::serve {

// An answer that is being produced.
struct RealtimeResponse {
  std::string id;
  RealtimeSettings settings;
  bool out_of_band = false;
  boost::json::value metadata = nullptr;
  ConversationItem item;  // what it says; the conversation has it too, unless it was deleted there
  bool begun = false;     // clients know of the item
  std::unique_ptr<TimeStretch> stretch;  // once it speaks, faster or slower than the model does
  int64_t samples = 0;
  int32_t sample_rate = kRealtimeRate;
  std::string cancelled;  // why, when it was: "turn_detected" or "client_cancelled"
};

class RealtimeAnswers {
 public:
  RealtimeAnswers(RealtimeContext& context, RealtimePrompt& prompt)
      : context_(context), prompt_(prompt) {}

  // The client's response events. Without an id the answer within the conversation is meant.
  RealtimeError create(const ResponseOrder& order);
  RealtimeError cancel_by_client(const std::optional<std::string>& response_id);

  // Within the conversation.
  bool active() const { return !in_band_.empty(); }
  // A turn has ended: answers the conversation, unless an answer is under way.
  void answer_turn();
  // Barge-in: the answer ends, and of it only what can have been heard stays in the history.
  void interrupt();
  // At the session's end, of the answers beside the conversation.
  void abort_all();

 private:
  using Clock = std::chrono::steady_clock;

  // The messages to answer; an error names an item that is not there.
  RealtimeError messages_for(const ResponseOrder& order, const std::string& instructions,
                             std::vector<ChatMessage>& out);
  void start(RealtimeResponse response, std::vector<ChatMessage> messages);
  void delta(const std::string& id, const OutputMessage& message);
  void begin_item(RealtimeResponse& response);
  void add_text(RealtimeResponse& response, const std::string& text);
  void add_audio(RealtimeResponse& response, const AudioChunk& audio);
  void send_audio(RealtimeResponse& response, std::span<const float> samples);
  // The conversation has what the answer has said so far.
  void keep(const RealtimeResponse& response);
  void cancel(const std::string& id, const char* why);
  void done(const std::string& id, const Status& status, const Answer& answer);
  void finish(const std::string& id, const char* outcome, const Answer* answer,
              const Status& error);
  void close_item(RealtimeResponse& response, const char* outcome);

  boost::json::object response_json(const RealtimeResponse& response, const char* status) const;
  // As the conversation has it, where it does.
  boost::json::object item_json(const RealtimeResponse& response);

  RealtimeContext& context_;
  RealtimePrompt& prompt_;
  std::map<std::string, RealtimeResponse> responses_;  // by id
  std::string in_band_;  // id of the one within the conversation; empty: none
  // Whose sound is being played, as far as the server can know.
  std::string speaking_item_;
  Clock::time_point speaking_since_;
};

// Of a spoken answer so much was heard: what the history keeps of it. Says so.
void truncate(RealtimeContext& context, ConversationItem& item, int64_t heard_ms);

}  // namespace tutti::serve
