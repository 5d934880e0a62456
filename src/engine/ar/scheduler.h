// Scheduler: which positions of which sequences the next step computes (continuous batching).
//
// Decodes first, then prompts in chunks, then new sequences, each by rank (priority, then arrival),
// within max_num_batched_tokens. When blocks run out, the last in rank is preempted: it lets go of
// its blocks, keeps its tokens and is computed again later. Sequences that wait for a chunk from
// upstream are passed over. A sequence begins behind what the prefix cache holds of it. Thread: the
// stage's replica thread. Borrows sequences between add() and remove().
#pragma once

#include <span>
#include <vector>

#include "engine/ar/block_manager.h"
#include "engine/ar/prefix_cache.h"
#include "engine/ar/sequence.h"

namespace tutti::ar {

struct ScheduledItem {
  Sequence* sequence = nullptr;
  int64_t count = 0;     // positions from num_computed on
  bool samples = false;  // a token follows the last of them
};

struct SchedulerLimits {
  int32_t max_num_seqs = 16;              // in one step
  int32_t max_num_batched_tokens = 2048;  // of one step
};

class Scheduler {
 public:
  Scheduler(const ArModel& model, BlockManager& blocks, PrefixCache& prefixes,
            SchedulerLimits limits);

  void add(Sequence& sequence);
  // Lets go of its blocks at once.
  void remove(Sequence& sequence);
  // The next step's work; empty when nothing can be computed. Valid until the next call.
  std::span<const ScheduledItem> schedule();
  bool has_runnable_work() const;

  int64_t num_waiting() const { return static_cast<int64_t>(waiting_.size()); }
  int64_t num_running() const { return static_cast<int64_t>(running_.size()); }
  int64_t num_blocked() const;
  int64_t num_preemptions() const { return num_preemptions_; }

 private:
  int64_t ready_positions(const Sequence& sequence) const;
  bool is_runnable(const Sequence& sequence) const;
  bool is_full() const;
  void schedule_decodes();
  void schedule_prefills();
  void admit_waiting();
  bool give_blocks(Sequence& sequence, int64_t positions);
  void schedule_running(Sequence& sequence);
  void put_into_step(Sequence& sequence);
  void preempt(Sequence& victim);

  const ArModel& model_;
  BlockManager& blocks_;
  PrefixCache& prefixes_;
  SchedulerLimits limits_;
  std::vector<Sequence*> running_;  // hold blocks; by rank
  std::vector<Sequence*> waiting_;  // hold none; by rank
  std::vector<Sequence*> candidates_;
  std::vector<ScheduledItem> items_;
  int64_t tokens_left_ = 0;
  uint64_t step_ = 0;
  int64_t num_preemptions_ = 0;
};

}  // namespace tutti::ar
