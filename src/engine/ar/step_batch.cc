#include "engine/ar/step_batch.h"

#include <algorithm>

namespace tutti::ar {

StepBatch::StepBatch(const SchedulerLimits& limits, int64_t max_blocks_per_sequence) {
  const int64_t seqs = limits.max_num_seqs;
  items_.reserve(static_cast<size_t>(seqs));
  lora_.reserve(static_cast<size_t>(seqs));
  sample_lora_.reserve(static_cast<size_t>(seqs));
  query_start_.all = Tensor::zeros({seqs + 1}, DType::kI32);
  kv_lengths_.all = Tensor::zeros({seqs}, DType::kI32);
  block_tables_.all = Tensor::zeros({seqs, max_blocks_per_sequence}, DType::kI32);
  slots_.all = Tensor::zeros({limits.max_num_batched_tokens}, DType::kI32);
}

void StepBatch::build(std::span<const ScheduledItem> scheduled, int32_t block_size,
                      bool keeps_extras) {
  items_.clear();
  lora_.clear();
  sample_lora_.clear();
  num_tokens_ = num_samples_ = max_query_length_ = max_kv_length_ = 0;
  for (const ScheduledItem& item : scheduled) add(item, block_size, keeps_extras);
  const auto count = static_cast<int64_t>(items_.size());
  query_start_.all.data<int32_t>()[count] = static_cast<int32_t>(num_tokens_);
  query_start_.used = query_start_.all.slice(0, count + 1);
  kv_lengths_.used = kv_lengths_.all.slice(0, count);
  block_tables_.used = block_tables_.all.slice(0, count);
  slots_.used = slots_.all.slice(0, num_tokens_);
}

void StepBatch::add(const ScheduledItem& scheduled, int32_t block_size, bool keeps_extras) {
  const Sequence& sequence = *scheduled.sequence;
  const auto row = static_cast<int64_t>(items_.size());
  const int64_t end = sequence.num_computed + scheduled.count;

  query_start_.all.data<int32_t>()[row] = static_cast<int32_t>(num_tokens_);
  kv_lengths_.all.data<int32_t>()[row] = static_cast<int32_t>(end);
  int32_t* table = block_tables_.all.data<int32_t>() + row * block_tables_.all.row_stride();
  for (const BlockId block : sequence.blocks) *table++ = block.value;
  int32_t* slot = slots_.all.data<int32_t>() + num_tokens_;
  for (int64_t position = sequence.num_computed; position < end; ++position) {
    const BlockId block = sequence.blocks[static_cast<size_t>(position / block_size)];
    *slot++ = block.value * block_size + static_cast<int32_t>(position % block_size);
  }

  items_.push_back({.sequence = sequence.model.get(),
                    .start = sequence.num_computed,
                    .count = scheduled.count,
                    .generated = sequence.generated,
                    .samples = scheduled.samples,
                    .sample_row = scheduled.samples ? num_samples_ : -1,
                    .wants_payload = sequence.request.wants_payload && !sequence.is_recomputing(),
                    .keeps_extras = keeps_extras,
                    .lora = sequence.adapter()});
  lora_.add(sequence.adapter(), scheduled.count);
  if (scheduled.samples) sample_lora_.add(sequence.adapter());
  num_tokens_ += scheduled.count;
  num_samples_ += scheduled.samples ? 1 : 0;
  max_query_length_ = std::max(max_query_length_, scheduled.count);
  max_kv_length_ = std::max(max_kv_length_, end);
}

ops::PagedBatch StepBatch::paged() const {
  return {.query_start = query_start_.used,
          .kv_lengths = kv_lengths_.used,
          .block_tables = block_tables_.used,
          .slots = slots_.used,
          .num_sequences = static_cast<int64_t>(items_.size()),
          .max_query_length = max_query_length_,
          .max_kv_length = max_kv_length_};
}

}  // namespace tutti::ar
