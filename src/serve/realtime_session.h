// RealtimeSession: one client of /v1/realtime: reads its events and hands them to the parts.
//
// Thread: as WebSocketSession; the engine's callbacks come from other threads and take turns with
// it.
#pragma once

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
  Status handle(const boost::json::object& event);
  void update_session(Fields& fields);
  void create_item(Fields& fields);
  void retrieve_item(Fields& fields);
  void truncate_item(Fields& fields);
  void delete_item(Fields& fields);
  ConversationItem* find_item(Fields& fields);

  const std::string id_;
  RealtimeContext context_;
  RealtimeTranscription transcription_;
  RealtimePrompt prompt_;
  RealtimeAnswers answers_;
  RealtimeTurns turns_;
};

}  // namespace tutti::serve
