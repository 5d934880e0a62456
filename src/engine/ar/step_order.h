// When an AR step's result is needed, for the device's order of steps.
//
// Speech: a sequence's frames last frame_s each, so its listener runs dry when all that has been
// produced has been played. Text has no listener; its soft deadlines let first tokens come early
// and then keep pace with a reader, which is faster than a talker takes the tokens in (one a
// frame). Who is late already is the more urgent the longer he waits, so nobody starves; what came
// late moves all that follows on, so that in overload old requests don't owe more and more and a
// new one's turn comes within a round. Thread: free functions, the stage's replica thread.
#pragma once

#include <span>

#include "backend/executor.h"
#include "base/clock.h"
#include "engine/ar/scheduler.h"

namespace tutti::ar {

// Of a sequence without tokens, and of one that has just got one more. frame_s: of speech; 0: text.
TimePoint first_token_due(const Sequence& sequence);
TimePoint next_token_due(const Sequence& sequence, double frame_s, TimePoint now);
// Of the most urgent item. heard: the stage's tokens are frames of speech.
StepOrder step_order(std::span<const ScheduledItem> items, bool heard);

// By when a group of frames must go on to the next stage: at once, unless the listener has much
// more still to hear.
TimePoint group_leaves_at(const Sequence& sequence, int64_t frames, double frame_s);

}  // namespace tutti::ar
