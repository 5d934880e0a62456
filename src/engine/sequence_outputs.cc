#include "engine/sequence_outputs.h"

#include <algorithm>
#include <iterator>

namespace tutti {

std::optional<StageOutput> SequenceOutputs::release(SequenceBase& sequence, StageOutput output,
                                                    bool may_wait) const {
  const bool ends = output.finished || output.segment_finished;
  const bool leaves = ends || (sequence.request.streams_payload && !may_wait);
  if (leaves && sequence.held.empty()) return output;
  sequence.held.add(std::move(output));
  if (!leaves) return std::nullopt;
  return sequence.held.take();
}

StageOutput SequenceOutputs::sign(SequenceBase& sequence, StageOutput output) const {
  output.key = sequence.request.key;
  output.segment = sequence.request.segment;
  if (output.finished || output.segment_finished) sequence.metrics.finished_s = now_s();
  output.metrics = sequence.metrics;
  return output;
}

StageOutput SequenceOutputs::failure(SequenceBase& sequence, Status error) const {
  StageOutput output;
  output.finished = true;
  output.error = std::move(error);
  output.delta.finish_reason = FinishReason::kError;
  return sign(sequence, std::move(output));
}

StageOutput SequenceOutputs::rest(SequenceBase& sequence) const {
  return sign(sequence, sequence.held.take());
}

void SequenceOutputs::take_early(std::vector<StageOutput>& outputs) {
  std::move(early_.begin(), early_.end(), std::back_inserter(outputs));
  early_.clear();
}

void SequenceOutputs::drop_early(RequestKey key) {
  std::erase_if(early_, [&](const StageOutput& output) { return output.key == key; });
}

}  // namespace tutti
