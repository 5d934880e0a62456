#include "engine/ar/step_order.h"

#include <algorithm>

namespace tutti::ar {

namespace {

// A newcomer waits in silence anyway; listeners who would run dry meanwhile go first.
constexpr double kFirstTokenPatience_s = 0.2;
// Twenty tokens a second: faster than reading, and than a talker of 12.5 frames a second.
constexpr double kTextToken_s = 0.05;

}  // namespace

TimePoint needed_by(const Sequence& sequence, double frame_s) {
  if (!sequence.request.streams_payload) return sequence.submitted + kWholeResultPatience;
  if (sequence.generated.empty()) return sequence.submitted + from_seconds(kFirstTokenPatience_s);
  const double each_s = frame_s > 0 ? frame_s : kTextToken_s;
  return sequence.first_token +
         from_seconds(each_s * static_cast<double>(sequence.generated.size()));
}

StepOrder step_order(std::span<const ScheduledItem> items, double frame_s) {
  StepOrder order{.priority = items.front().sequence->request.priority};
  for (const ScheduledItem& item : items) {
    const Sequence& sequence = *item.sequence;
    order.priority = std::min(order.priority, sequence.request.priority);
    order.deadline = std::min(order.deadline, needed_by(sequence, frame_s));
    order.for_listener |= frame_s > 0 && sequence.request.streams_payload;
  }
  return order;
}

}  // namespace tutti::ar
