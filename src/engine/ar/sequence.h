// Sequence: everything the AR engine knows of one request.
//
// Thread: the stage's replica thread. Owns: the model's state, tokens, block ids, text state.
// Invariants: positions [0, num_computed) are in the KV cache; num_computed <= high_water; the
// newest token has no position in the cache until it has been the input of a step. Of a resumable
// request the prompt is all that came before the current segment's answer.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "engine/ar/penalties.h"
#include "engine/ar/prefix_hash.h"
#include "engine/ar/text_output.h"
#include "engine/sequence_outputs.h"
#include "models/ar_model.h"
#include "models/stage_io.h"

namespace tutti::ar {

struct Sequence : SequenceBase {
  explicit Sequence(StageRequest request_in, std::shared_ptr<const text::Tokenizer> tokenizer)
      : SequenceBase{.request = std::move(request_in)},
        text(std::move(tokenizer), request.sampling_params) {}

  int64_t num_known() const { return prompt_length + static_cast<int64_t>(generated.size()); }
  // Whether positions are computed again after a preemption; their results are out already.
  bool is_recomputing() const { return num_computed < high_water; }

  // What its rows go through; null: nothing.
  const LoraAdapter* adapter() const { return lora && !lora->empty() ? lora.get() : nullptr; }

  // The current segment takes input in and answers nothing.
  bool is_prefill_only() const { return prompt_length >= 0 && max_new_tokens == 0; }

  std::unique_ptr<ArSequence> model;
  std::shared_ptr<const LoraAdapter> lora;  // of the request; stays while the sequence lives

  int64_t prompt_length = -1;  // -1: more chunks must come
  int64_t max_new_tokens = 0;  // set with prompt_length
  std::vector<int32_t> generated;

  int64_t num_computed = 0;
  int64_t high_water = 0;  // positions that have ever been computed
  std::vector<BlockId> blocks;
  std::vector<PrefixHash> block_hashes;  // of the first blocks, as far as anybody asked
  int64_t num_remembered = 0;            // blocks that the prefix cache has been told of
  bool running = false;                  // holds blocks
  uint64_t last_step = 0;                // when it was scheduled last

  std::deque<StageSegment> pending;  // further segments, in order
  bool takes_segments = false;       // the last segment has not come yet
  bool awaits_segment = false;       // the answer is complete and none is pending

  TimePoint due;  // by when the next token is needed (step_order.h)

  bool rests = false;  // lets input for several tokens come before it goes on (pacing.cc)
  TimePoint rests_till = {};

  Penalties penalties;
  TextOutput text;
  std::vector<int32_t> withheld_ids;  // of payloads; they may be part of a stop string
};

// Who comes first: smaller priority, then earlier arrival.
inline bool ranks_before(const Sequence* a, const Sequence* b) {
  if (a->request.priority != b->request.priority) return a->request.priority < b->request.priority;
  return a->arrival < b->arrival;
}

}  // namespace tutti::ar
