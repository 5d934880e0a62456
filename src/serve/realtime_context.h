// What the parts of one realtime session share. The parts are the client's events
// (realtime_session), turns of speech (realtime_turns), answers (realtime_answers) and
// transcriptions (realtime_transcription).
//
// Thread: everything under `mutex`. The engine's callbacks come from other threads; guarded() lets
// them in one at a time and not after the session's end.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "serve/realtime_conversation.h"
#include "serve/realtime_events.h"
#include "serve/realtime_settings.h"
#include "serve/services.h"

namespace tutti::serve {

struct RealtimeContext {
  const Services& services;
  const std::map<std::string, std::string> trace;
  const std::string conversation_id;
  std::weak_ptr<void> session = {};
  std::recursive_mutex mutex = {};  // a refused request is reported from within its submission
  RealtimeEvents events = {};
  RealtimeSettings settings = {};
  Conversation conversation = {};

  // `call` under the lock, as long as the session lives.
  template <typename Call>
  auto guarded(Call call) {
    return [this, alive = session, call = std::move(call)](const auto&... args) {
      const auto kept = alive.lock();
      if (!kept) return;
      const std::lock_guard lock(mutex);
      call(args...);
    };
  }
};

}  // namespace tutti::serve
