// TraceRecorder: what ran when, kept in memory within a bound and written in Chrome trace format
// (chrome://tracing, Perfetto). The oldest events go when it is full.
//
// Thread: any. While it is off an event costs one relaxed load.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tutti/status.h"

#include "base/clock.h"

namespace tutti {

// Where events are drawn: a process of the picture and a row in it.
struct TraceTrack {
  int32_t process = 0;  // of Tutti: the stage
  int32_t row = 0;      // of Tutti: the replica
  auto operator<=>(const TraceTrack&) const = default;
};

// One argument of an event, as JSON text: 12, 0.5, "a" (json_quoted()).
using TraceArgs = std::vector<std::pair<std::string, std::string>>;

class TraceRecorder {
 public:
  // Times are counted from `epoch`. Begins switched off.
  TraceRecorder(size_t most_events, TimePoint epoch);

  bool enabled() const { return enabled_.load(std::memory_order_relaxed); }
  void set_enabled(bool on) { enabled_.store(on, std::memory_order_relaxed); }

  // "stage 0 (thinker)" and "replica 0".
  void name_track(TraceTrack track, const std::string& process, const std::string& row);
  // Spans of one track either nest or lie apart (steps of a replica).
  void span(TraceTrack track, std::string name, double begin_s, double end_s, TraceArgs args = {});
  // Spans that may overlap (requests); those of one id are drawn together.
  void async_span(TraceTrack track, std::string name, uint64_t id, double begin_s, double end_s,
                  TraceArgs args = {});
  void instant(TraceTrack track, std::string name, double at_s, TraceArgs args = {});
  void counter(TraceTrack track, std::string name, double at_s, double value);

  // Seconds since the epoch now, for the calls above.
  double now_s() const { return to_seconds(Clock::steady().now() - epoch_); }
  size_t size() const;
  // Events that have gone because newer ones needed the room.
  int64_t dropped() const;
  void clear();
  // One JSON object with `traceEvents`, in the order of their beginnings.
  std::string to_json() const;
  Status write(const std::string& path) const;

 private:
  struct Event {
    char phase = 'X';
    TraceTrack track;
    std::string name;
    uint64_t id = 0;
    double begin_s = 0;
    double duration_s = 0;
    TraceArgs args;
  };
  struct TrackName {
    TraceTrack track;
    std::string process;
    std::string row;
  };
  void add(Event event);

  const size_t most_events_;
  const TimePoint epoch_;
  std::atomic<bool> enabled_{false};
  mutable std::mutex mutex_;
  std::deque<Event> events_;  // guarded by mutex_, as all below
  std::vector<TrackName> names_;
  int64_t dropped_ = 0;
};

// `text` as a JSON string with its quotes.
std::string json_quoted(std::string_view text);

}  // namespace tutti
