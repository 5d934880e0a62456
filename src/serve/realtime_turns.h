// RealtimeTurns: the person's side of a realtime session: the sound that comes in, who is speaking,
// and the turns that it becomes.
//
// Thread: under the session's lock. Invariant: the input buffer is bounded.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "serve/realtime_answers.h"
#include "serve/realtime_context.h"
#include "serve/realtime_prompt.h"
#include "serve/realtime_transcription.h"
#include "serve/voice_activity.h"

namespace tutti::serve {

// A turn as it is being spoken; times of the whole stream.
struct SpokenTurn {
  std::string item_id;
  int64_t begin_ms = 0;
  int64_t streamed_ms = 0;   // up to here the sound is in `parts`
  std::vector<Sound> parts;  // windows of a long turn
  bool prompt_begun = false;
};

class RealtimeTurns {
 public:
  RealtimeTurns(RealtimeContext& context, RealtimePrompt& prompt, RealtimeAnswers& answers,
                RealtimeTranscription& transcription);

  // The client's input_audio_buffer events.
  RealtimeError append(const std::vector<int16_t>& samples);
  RealtimeError commit_by_client();
  void clear();
  // After the settings have changed.
  void restart_detection();

 private:
  void detect(const std::vector<int16_t>& samples);
  void speech_started(int64_t at_ms);
  void speech_stopped(int64_t at_ms);
  void begin_turn(int64_t at_ms);
  // Hands on what can be taken in before the turn has ended.
  void stream();
  // Error: the conversation has no room for it; the sound is where it was.
  Status commit();

  RealtimeContext& context_;
  RealtimePrompt& prompt_;
  RealtimeAnswers& answers_;
  RealtimeTranscription& transcription_;
  InputBuffer buffer_;
  std::optional<VoiceActivity> detection_;  // none: the client commits
  int64_t detection_begin_ms_ = 0;          // in the whole stream
  std::optional<SpokenTurn> turn_;
};

// Puts an item into the conversation and says so.
void add_item(RealtimeContext& context, ConversationItem item, const std::string& previous_id);

}  // namespace tutti::serve
