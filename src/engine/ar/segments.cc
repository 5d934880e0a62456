// Segments of resumable sequences: when an answer is complete, the next pending segment's input
// goes behind it, and only its positions are computed.
#include <fmt/format.h>

#include <algorithm>

#include "engine/ar/ar_engine.h"

namespace tutti::ar {

Status ArEngine::extend(StageSegment segment) {
  const auto found = sequences_.find(segment.key);
  if (found == sequences_.end()) return {};
  Sequence& sequence = *found->second;
  if (!sequence.takes_segments)
    return invalid_argument(
        fmt::format("Request {} has had its last segment; it takes no further input.",
                    sequence.request.request_id));
  TUTTI_RETURN_IF_ERROR(check_params(segment.sampling_params, true));
  sequence.takes_segments = segment.input.resumable;
  sequence.pending.push_back(std::move(segment));
  return sequence.awaits_segment ? begin_segment(sequence) : Status();
}

// The first pending one becomes the current one.
Status ArEngine::begin_segment(Sequence& sequence) {
  StageSegment segment = std::move(sequence.pending.front());
  sequence.pending.pop_front();
  sequence.request.segment = segment.segment;
  TUTTI_RETURN_IF_ERROR(model_->extend(*sequence.model, sequence.generated, segment.input));
  const int64_t length = model_->prompt_length(*sequence.model);
  TUTTI_RETURN_IF_ERROR(check_prompt_length(length));
  sequence.generated.clear();
  sequence.awaits_segment = false;
  sequence.request.sampling_params = std::move(segment.sampling_params);
  sequence.request.seed = segment.seed;
  sequence.text = TextOutput(tokenizer_, sequence.request.sampling_params);
  sequence.submitted = outputs_.now();
  sequence.metrics = {.submitted_s = outputs_.seconds(sequence.submitted),
                      .cached_tokens = sequence.num_computed,
                      .preemptions = sequence.metrics.preemptions};
  TUTTI_RETURN_IF_ERROR(begin_answer(sequence, length));
  if (sequence.is_prefill_only()) {
    if (sequence.num_computed == length) publish_prefill_only(sequence, outputs_.early());
  } else if (sequence.high_water == length) {
    // An answer follows the last known position, so a segment without input computes it again.
    --sequence.high_water;
    sequence.num_computed = std::min(sequence.num_computed, sequence.high_water);
  }
  return {};
}

// The segment's input is in the cache, and no answer follows.
void ArEngine::publish_prefill_only(Sequence& sequence, std::vector<StageOutput>& outputs) {
  StageOutput output;
  output.segment_finished = true;
  output.finished = is_last_segment(sequence);
  output.delta.finish_reason = FinishReason::kLength;
  emit(sequence, std::move(output), outputs);
}

void ArEngine::end_segment(Sequence& sequence, std::vector<StageOutput>& outputs) {
  sequence.awaits_segment = true;
  if (sequence.pending.empty()) return;
  Status status = begin_segment(sequence);
  if (!status.ok()) end_with_error(sequence, std::move(status), outputs);
}

}  // namespace tutti::ar
