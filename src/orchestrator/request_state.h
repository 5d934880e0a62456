// RequestProgress: how far one request is in every stage. The orchestrator alone owns and changes
// it.
//
// A request has one segment, a resumable one several. A stage without sources runs one sequence for
// all of them; the others run one for each segment that is answered, one after the other.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "orchestrator/messages.h"
#include "orchestrator/playback.h"
#include "stages/stage_graph.h"

namespace tutti {

// Input of a later segment, while the stage is not done with an earlier one.
struct LaterSegment {
  int32_t segment = 0;
  int32_t open_sources = 0;
  std::vector<UpstreamChunk> gathered;
};

struct StageProgress {
  enum class State : uint8_t {
    kNotNeeded,  // no wanted output depends on it: never submitted
    kWaiting,    // for the first input of `segment`
    kQueued,     // for a replica, until `wait_until`
    kRunning,    // bound to `replica`
    kReleasing,  // bound still: the abort is not acknowledged
    kFinished,
  };
  State state = State::kNotNeeded;
  bool wanted_output = false;           // the caller sees its deltas
  bool feeds_others = false;            // a needed stage consumes its payload
  bool said_metrics = false;            // its StageMetricsMessage is out
  int32_t segment = 0;                  // that it answers, or gathers input for
  int64_t tokens_out = 0;               // of all segments
  bool was_cut = false;                 // at the limit of audio: nothing more of it is said
  int32_t open_sources = 0;             // of `segment`: how many have not ended
  std::vector<UpstreamChunk> gathered;  // of `segment`, until submitted
  std::vector<LaterSegment> later;
  ReplicaId replica;  // while bound
  TimePoint wait_until = TimePoint::max();
  double submit_ts = 0;
  StageMetrics metrics;  // as last reported
  Playback playback;
  std::unique_ptr<OutputMessage> held;  // came while the request was being aborted
};

// How a request ends whose stages have not all let go of it yet.
enum class Ending : uint8_t {
  kNone,
  kAborted,  // its terminal message follows
  kSaid,     // its terminal message is out
  kRetried,  // it begins again
};

// Whether a request counts among the live ones.
enum class Place : uint8_t {
  kHeld,
  kIdle,     // a session: everything is answered and the next segment has not come
  kWaiting,  // for a place, to go on
};

// A companion in the stages without sources: beside its parent, on the same replica.
struct CompanionProgress {
  std::vector<StageProgress::State> stages;
};

// An AbortMessage with a ticket that names the request.
struct AbortWaiter {
  uint64_t ticket = 0;
  size_t index = 0;  // among the keys of the message
};

struct RequestProgress {
  // What `request` needs of the graph; stages without sources still have to be submitted.
  RequestProgress(std::unique_ptr<AcceptedRequest> accepted, const StageGraph& graph);
  // Back to the beginning; segments stay.
  void reset(const StageGraph& graph);

  std::unique_ptr<AcceptedRequest> request;
  std::vector<RequestSegment> updates;  // segments 1, 2, ...
  std::vector<StageProgress> stages;
  std::vector<CompanionProgress> companions;
  int32_t open_outputs = 0;  // wanted outputs that have not ended
  bool resumable = false;
  bool delivered = false;    // an OutputMessage is out: no retry
  bool ended_early = false;  // an entry stage before its input
  Place place = Place::kHeld;
  double waits_since_s = 0;             // Place::kWaiting
  std::vector<RequestSegment> pending;  // until it has a place; after `updates`
  int32_t retries = 0;

  Ending ending = Ending::kNone;
  int32_t open_acks = 0;       // sequences in State::kReleasing
  int32_t terminal_stage = 0;  // of the message that says kAborted
  TimePoint release_deadline = TimePoint::max();
  std::vector<AbortWaiter> aborts;
  TimePoint timer = TimePoint::max();  // set for it

  int32_t num_segments() const { return 1 + static_cast<int32_t>(updates.size()); }
  RequestSegment& segment(int32_t i) { return i == 0 ? request->segment : updates[i - 1]; }
  const RequestSegment& segment(int32_t i) const {
    return i == 0 ? request->segment : updates[i - 1];
  }
  // No further segment will come.
  bool input_complete() const { return segment(num_segments() - 1).last; }
  // Drops the segments from `count` on: a stage has ended before them.
  void end_input(int32_t count);
  // Whether `stage` has an answer to the segment: not when it only takes in (max_tokens 0).
  bool answers(const StageGraph& graph, int32_t stage, int32_t segment) const;
  // How many ends of input `stage` has to see until its input of the segment is complete.
  int32_t count_sources(const StageGraph& graph, int32_t stage, int32_t segment) const;
  // For a stage with sources and no running sequence: goes on to the next segment that it answers,
  // from `stages[stage].segment` on. kFinished when there will be none.
  void seek_segment(const StageGraph& graph, int32_t stage);

  // Where a terminal message about the whole request belongs: its first output that has not ended.
  int32_t first_open_output() const;
};

// The terminal message of a request that was aborted.
OutputMessage aborted_message(const AcceptedRequest& request, const StageGraph& graph,
                              int32_t stage);

}  // namespace tutti
