#include "engine/ar/step_order.h"

#include <algorithm>

namespace tutti::ar {

namespace {

// A newcomer waits in silence anyway; listeners who would run dry meanwhile go first.
constexpr double kFirstTokenPatience_s = 0.2;
// Twenty tokens a second: faster than reading, and than a talker of 12.5 frames a second.
constexpr double kTextToken_s = 0.05;

// A group is at most this share of what the listener has still to hear; half of the rest is the
// vocoder's own share.
constexpr double kGroupsOfLead = 4;
// Larger groups save little more.
constexpr int64_t kLargestGroup = 16;

}  // namespace

TimePoint first_token_due(const Sequence& sequence) {
  if (!sequence.request.streams_payload) return sequence.submitted + kWholeResultPatience;
  return sequence.submitted + from_seconds(kFirstTokenPatience_s);
}

TimePoint next_token_due(const Sequence& sequence, double frame_s, TimePoint now) {
  if (!sequence.request.streams_payload) return sequence.due;
  const bool is_first = sequence.generated.size() == 1;
  const TimePoint begin = is_first ? now : std::max(sequence.due, now);
  return begin + from_seconds(frame_s > 0 ? frame_s : kTextToken_s);
}

StepOrder step_order(std::span<const ScheduledItem> items, bool heard) {
  StepOrder order{.priority = items.front().sequence->request.priority};
  for (const ScheduledItem& item : items) {
    const Sequence& sequence = *item.sequence;
    order.priority = std::min(order.priority, sequence.request.priority);
    order.deadline = std::min(order.deadline, sequence.due);
    order.for_listener |= heard && sequence.request.streams_payload;
  }
  return order;
}

TimePoint group_leaves_at(const Sequence& sequence, int64_t frames, double frame_s) {
  if (frames >= kLargestGroup) return TimePoint::min();
  return sequence.due - from_seconds(kGroupsOfLead * static_cast<double>(frames) * frame_s);
}

}  // namespace tutti::ar
