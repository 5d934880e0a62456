// RealtimeSession: one client of /v1/realtime: reads its events and hands them to the parts.
//
// Thread: as WebSocketSession; the engine's callbacks come from other threads and take turns with
// it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "serve/fields.h"
#include "serve/http.h"
#include "serve/realtime_answers.h"
#include "serve/realtime_context.h"
#include "serve/realtime_prompt.h"
#include "serve/realtime_transcription.h"
#include "serve/realtime_turns.h"

namespace tutti::serve {

class RealtimeSession final : public WebSocketSession,
                              public std::enable_shared_from_this<RealtimeSession> {
 public:
  // `model`: a served name, or empty. `services` must outlive it.
  RealtimeSession(const Services& services, std::string model,
                  std::map<std::string, std::string> trace);

  void on_open(std::shared_ptr<WebSocketPeer> peer) override;
  void on_text(std::string text) override;
  void on_close() override;

 private:
  // What an event asks for, once everything in it has been read and is right.
  using Action = std::function<RealtimeError()>;

  // Without the lock; the action then runs under it.
  Action read(const boost::json::object& event, Status* error);
  Action read_update(Fields& fields);
  Action read_append(Fields& fields);
  Action read_create(Fields& fields);
  Action read_retrieve(Fields& fields);
  Action read_truncate(Fields& fields);
  Action read_delete(Fields& fields);
  Action read_response(Fields& fields);
  Action read_cancel(Fields& fields);

  RealtimeError create_item(ConversationItem item, const std::string& previous_id);
  RealtimeError truncate_item(const std::string& id, int64_t end_ms);

  const std::string id_;
  RealtimeContext context_;
  RealtimeTranscription transcription_;
  RealtimePrompt prompt_;
  RealtimeAnswers answers_;
  RealtimeTurns turns_;
};

}  // namespace tutti::serve
