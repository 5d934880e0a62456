// What passes between stages: inputs, chunks and outputs of one request in one stage.
//
// Tensors are shared handles: in one process a chunk is handed over without a copy.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tutti/output.h"
#include "tutti/sampling_params.h"

#include "base/ids.h"
#include "tensor/tensor.h"

namespace tutti {

// Tokens and named tensors; the names on an edge are the model family's own business.
struct StagePayload {
  std::vector<int32_t> token_ids;
  std::map<std::string, Tensor> tensors;

  bool empty() const { return token_ids.empty() && tensors.empty(); }
};

// What a stage's model needs to begin a sequence, beside the chunks.
struct StageInput {
  StagePayload payload;  // all of it, or the first chunk
  bool last = true;      // no chunk will follow
  std::string voice;     // resolved name in the model's spelling; empty: default
  std::optional<int32_t> num_new_tokens_hint;
  // Further segments will follow after the answer: payload rows must be kept for them.
  bool resumable = false;
};

// A further piece of a running sequence's input.
struct StageChunk {
  RequestKey key;
  StagePayload payload;
  bool last = false;
  double transfer_s = 0;  // since it left upstream
};

struct StageRequest {
  RequestKey key;
  std::string request_id;
  StageInput input;
  SamplingParams sampling_params;
  uint64_t seed = 0;  // always set: the request's own or drawn at submission
  int32_t priority = 0;
  bool streams_payload = true;  // outputs go on in chunks (async_chunk, or to the user)
  bool wants_payload = false;   // a downstream stage of this request consumes the payload
  std::string lora_name;        // adapter that its rows go through, where the stage has it
  std::string lora_path;        // where a replica that does not have it (a restarted one) finds it
  std::optional<bool> reasoning_ended;
  int32_t segment = 0;
  double transfer_s = 0;  // of the chunks in `input` since they left upstream, summed
};

// A further segment of a resumable sequence: input behind all that was put in and produced so far.
struct StageSegment {
  RequestKey key;
  StageInput input;  // `resumable` false: the last one
  SamplingParams sampling_params;
  uint64_t seed = 0;
  int32_t segment = 0;
};

// New output of one sequence since the last one. `payload` is for the next stage, `delta` for the
// caller; `error` not OK means the sequence has failed, and it is then finished.
struct StageOutput {
  RequestKey key;
  StagePayload payload;
  StageOutputDelta delta;
  bool finished = false;          // the sequence is over
  bool segment_finished = false;  // its segment's answer is complete; set with `finished` too
  int32_t segment = 0;
  Status error;
  StageMetrics metrics;
};

}  // namespace tutti
