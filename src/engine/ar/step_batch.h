// StepBatch: the rows and paged-attention metadata of one step, in buffers made once for the
// largest step, so that a decode step allocates nothing.
//
// Thread: the stage's replica thread. Borrows the scheduled sequences for the step.
#pragma once

#include <span>
#include <vector>

#include "engine/ar/scheduler.h"
#include "models/ar_model.h"
#include "ops/attention.h"

namespace tutti::ar {

class StepBatch {
 public:
  StepBatch(const SchedulerLimits& limits, int64_t max_blocks_per_sequence);

  // keeps_extras: of every item (ArBatchItem).
  void build(std::span<const ScheduledItem> scheduled, int32_t block_size, bool keeps_extras);

  std::span<ArBatchItem> items() { return items_; }
  int64_t num_tokens() const { return num_tokens_; }
  int64_t num_samples() const { return num_samples_; }
  // Refers to this object; valid until the next build().
  ops::PagedBatch paged() const;
  // Adapters of all rows, and of those that sampling follows.
  const LoraRows& lora() const { return lora_; }
  const LoraRows& sample_lora() const { return sample_lora_; }

 private:
  void add(const ScheduledItem& scheduled, int32_t block_size, bool keeps_extras);

  std::vector<ArBatchItem> items_;
  LoraRows lora_;
  LoraRows sample_lora_;
  int64_t num_tokens_ = 0;
  int64_t num_samples_ = 0;
  int64_t max_query_length_ = 0;
  int64_t max_kv_length_ = 0;
  // Whole buffers, and the part of them that this step uses.
  struct Buffer {
    Tensor all;
    Tensor used;
  };
  Buffer query_start_;   // [max_num_seqs + 1]
  Buffer kv_lengths_;    // [max_num_seqs]
  Buffer block_tables_;  // [max_num_seqs, max_blocks_per_sequence]
  Buffer slots_;         // [max_num_batched_tokens]
};

}  // namespace tutti::ar
