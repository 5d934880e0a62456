// RealtimeTurns: the person's side of a realtime session: the sound that comes in, who is speaking,
// and the turns that it becomes.
//
// Thread: under the session's lock. Invariant: the input buffer is bounded.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "serve/fields.h"
#include "serve/realtime_answers.h"
#include "serve/realtime_context.h"
#include "serve/realtime_transcription.h"
#include "serve/voice_activity.h"

namespace tutti::serve {

class RealtimeTurns {
 public:
  RealtimeTurns(RealtimeContext& context, RealtimeAnswers& answers,
                RealtimeTranscription& transcription);

  // The client's input_audio_buffer events.
  void append(Fields& fields);
  void commit_by_client(Fields& fields);
  void clear();
  // After the settings have changed.
  void restart_detection();

 private:
  void detect(const std::vector<int16_t>& samples);
  void speech_started(int64_t at_ms);
  void speech_stopped(int64_t at_ms);
  void commit(const std::string& item_id, int64_t begin_ms);

  RealtimeContext& context_;
  RealtimeAnswers& answers_;
  RealtimeTranscription& transcription_;
  InputBuffer buffer_;
  std::optional<VoiceActivity> detection_;  // none: the client commits
  int64_t detection_begin_ms_ = 0;          // in the whole stream
  std::string turn_id_;                     // of the item that is being spoken
  int64_t turn_begin_ms_ = 0;
};

// Puts an item into the conversation and says so.
void add_item(RealtimeContext& context, ConversationItem item, const std::string& previous_id);

}  // namespace tutti::serve
