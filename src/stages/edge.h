// Edges: what passes from stage to stage, and how it becomes the downstream stage's input.
//
// The orchestrator forwards UpstreamChunks unopened; the downstream replica's thread calls
// process_edge(), so that the event loop never computes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tutti/status.h"

#include "base/clock.h"
#include "models/stage_io.h"
#include "stages/stage_graph.h"

namespace tutti {

// What one upstream stage has put out since the last chunk.
struct UpstreamChunk {
  int32_t from_stage = 0;
  StagePayload payload;
  bool last = false;                // `from_stage` has ended (its segment, of a resumable request)
  std::string companion_role = {};  // empty: of the request itself
  TimePoint sent = {};              // when it left upstream
};

// One payload out of several, in order: token ids one after the other, tensors of one name along
// dimension 0. Errors: dtypes or further dimensions differ, or a tensor is not in host memory.
Result<StagePayload> concatenate(std::vector<StagePayload> parts);

// Input of `stage` from `chunks`: those of one source are joined in order, go through the stage's
// input processor, and the sources' results are joined in the order of StageSpec::sources. What
// came of a companion goes through the processor by itself and becomes tensors named
// "<role>/<name>", its token ids "<role>/token_ids" [n] int32. Errors and exceptions of the
// processor come back as the request's error.
Result<StagePayload> process_edge(const StageGraph& graph, int32_t stage,
                                  std::vector<UpstreamChunk> chunks);

}  // namespace tutti
