// When an AR step's result is needed, for the device's order of steps.
//
// Speech: a sequence's frames last frame_s each, so its listener runs dry when all that has been
// produced has been played. Text has no listener; its soft deadlines let first tokens come early
// and then keep pace with a reader, which is faster than a talker takes the tokens in (one a
// frame). Who is late already is the more urgent the longer he waits, so nobody starves. Thread:
// free functions, the stage's replica thread.
#pragma once

#include <span>

#include "backend/executor.h"
#include "base/clock.h"
#include "engine/ar/scheduler.h"

namespace tutti::ar {

TimePoint needed_by(const Sequence& sequence, double frame_s);
// Of the most urgent item.
StepOrder step_order(std::span<const ScheduledItem> items, double frame_s);

}  // namespace tutti::ar
