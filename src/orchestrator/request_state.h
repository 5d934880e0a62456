// RequestProgress: how far one request is in every stage. The orchestrator alone owns and changes
// it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "orchestrator/messages.h"
#include "stages/stage_graph.h"

namespace tutti {

struct StageProgress {
  enum class State : uint8_t {
    kNotNeeded,  // no wanted output depends on it: never submitted
    kWaiting,    // for its first input
    kRunning,    // bound to `replica`
    kFinished,
  };
  State state = State::kNotNeeded;
  bool wanted_output = false;           // the caller sees its deltas
  bool feeds_others = false;            // a needed stage consumes its payload
  int32_t open_sources = 0;             // of its sources, how many have not ended
  std::vector<UpstreamChunk> gathered;  // while waiting
  ReplicaId replica;                    // once running
  double submit_ts = 0;
  StageMetrics metrics;  // as last reported
};

struct RequestProgress {
  // What `request` needs of the graph; stages without sources still have to be submitted.
  RequestProgress(std::unique_ptr<AcceptedRequest> accepted, const StageGraph& graph);

  std::unique_ptr<AcceptedRequest> request;
  std::vector<StageProgress> stages;
  int32_t open_outputs = 0;  // wanted outputs that have not ended

  // Where a terminal message about the whole request belongs: its first output that has not ended.
  int32_t first_open_output() const;
};

}  // namespace tutti
