// Scheduler: which positions of which sequences the next step computes (continuous batching).
//
// Priority by priority, the smallest first: decodes, then prompts in chunks, then new sequences,
// each by rank (priority, then arrival), within max_num_batched_tokens; so a better priority takes
// places of a step from worse ones. When blocks run out, one is preempted: it lets go of its
// blocks, keeps its tokens and is computed again later. Sequences that wait for a further segment
// go first, then the last in rank; for a new sequence nobody of its own priority gives way, so that
// equals never chase each other. Sequences that wait for a chunk from upstream or for a segment are
// passed over. A sequence begins behind what the prefix cache holds of it. Thread: the stage's
// replica thread. Borrows sequences between add() and remove().
#pragma once

#include <limits>
#include <optional>
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
  // most_prompt_tokens: of positions that are not decodes, so that the step stays short.
  std::span<const ScheduledItem> schedule(
      int64_t most_prompt_tokens = std::numeric_limits<int64_t>::max());
  bool has_runnable_work() const;
  // Whether any sequence is in the midst of its answer, beside prompts.
  bool has_decodes() const;

  int64_t num_waiting() const { return static_cast<int64_t>(waiting_.size()); }
  int64_t num_running() const { return static_cast<int64_t>(running_.size()); }
  int64_t num_blocked() const;
  int64_t num_preemptions() const { return num_preemptions_; }

 private:
  int64_t ready_positions(const Sequence& sequence) const;
  bool is_runnable(const Sequence& sequence) const;
  bool is_full() const;
  std::optional<int32_t> next_priority(std::optional<int32_t> after) const;
  void schedule_decodes(int32_t priority);
  void schedule_prefills(int32_t priority);
  bool admit_waiting(int32_t priority);
  bool give_blocks(Sequence& sequence, int64_t positions);
  void make_room(const Sequence& sequence, int64_t positions);
  int64_t num_blocks_within_reach(const Sequence& sequence) const;
  Sequence* idle_victim() const;
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
  int64_t prompt_tokens_left_ = 0;
  uint64_t step_ = 0;
  int64_t num_preemptions_ = 0;
};

}  // namespace tutti::ar
