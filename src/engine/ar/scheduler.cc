#include "engine/ar/scheduler.h"

#include <algorithm>

namespace tutti::ar {

namespace {

void insert_by_rank(std::vector<Sequence*>& list, Sequence& sequence) {
  list.insert(std::upper_bound(list.begin(), list.end(), &sequence, ranks_before), &sequence);
}

bool is_decode(const Sequence& sequence) {
  return !sequence.generated.empty() && sequence.num_computed + 1 == sequence.num_known();
}

}  // namespace

Scheduler::Scheduler(const ArModel& model, BlockManager& blocks, PrefixCache& prefixes,
                     SchedulerLimits limits)
    : model_(model), blocks_(blocks), prefixes_(prefixes), limits_(limits) {
  items_.reserve(static_cast<size_t>(limits.max_num_seqs));
}

void Scheduler::add(Sequence& sequence) {
  insert_by_rank(waiting_, sequence);
  // Every list can hold every sequence without growing during a step.
  const size_t all = waiting_.size() + running_.size();
  for (auto* list : {&running_, &waiting_, &candidates_}) {
    if (list->capacity() < all) list->reserve(2 * all);
  }
}

void Scheduler::remove(Sequence& sequence) {
  blocks_.release(sequence.blocks);
  std::erase(sequence.running ? running_ : waiting_, &sequence);
  sequence.running = false;
}

std::span<const ScheduledItem> Scheduler::schedule(int64_t most_prompt_tokens) {
  items_.clear();
  tokens_left_ = limits_.max_num_batched_tokens;
  prompt_tokens_left_ = std::max<int64_t>(most_prompt_tokens, 1);
  ++step_;
  bool admits = true;
  for (auto priority = next_priority({}); priority; priority = next_priority(priority)) {
    schedule_decodes(*priority);
    schedule_prefills(*priority);
    admits = admits && admit_waiting(*priority);
  }
  return items_;
}

bool Scheduler::has_runnable_work() const {
  for (const Sequence* sequence : running_) {
    if (is_runnable(*sequence)) return true;
  }
  for (const Sequence* sequence : waiting_) {
    const int64_t ready = ready_positions(*sequence);
    if (ready > 0) return blocks_.blocks_for(ready) <= num_blocks_within_reach(*sequence);
  }
  return false;
}

bool Scheduler::has_decodes() const {
  return std::any_of(running_.begin(), running_.end(), [](const Sequence* sequence) {
    return is_decode(*sequence) && !sequence->awaits_segment;
  });
}

int64_t Scheduler::num_blocked() const {
  const auto is_blocked = [&](const Sequence* s) { return !is_runnable(*s); };
  return std::count_if(running_.begin(), running_.end(), is_blocked) +
         std::count_if(waiting_.begin(), waiting_.end(), is_blocked);
}

// Positions whose inputs are known. All but the newest token's were computed or wait for nothing.
int64_t Scheduler::ready_positions(const Sequence& sequence) const {
  if (sequence.prompt_length < 0 || sequence.awaits_segment) return 0;
  const auto newest = static_cast<int64_t>(sequence.generated.size()) - 1;
  const bool ready = newest < 0 || (!sequence.rests && model_.input_ready(*sequence.model, newest));
  return sequence.num_known() - (ready ? 0 : 1);
}

bool Scheduler::is_runnable(const Sequence& sequence) const {
  return ready_positions(sequence) > sequence.num_computed;
}

bool Scheduler::is_full() const {
  return tokens_left_ == 0 || static_cast<int32_t>(items_.size()) == limits_.max_num_seqs;
}

// The smallest priority of all sequences, or of those behind `after`.
std::optional<int32_t> Scheduler::next_priority(std::optional<int32_t> after) const {
  std::optional<int32_t> next;
  for (const auto* list : {&running_, &waiting_}) {
    for (const Sequence* sequence : *list) {
      const int32_t priority = sequence->request.priority;
      if (after && priority <= *after) continue;
      if (!next || priority < *next) next = priority;
      break;  // the list is by rank
    }
  }
  return next;
}

void Scheduler::schedule_decodes(int32_t priority) {
  candidates_.clear();
  for (Sequence* sequence : running_) {
    if (sequence->request.priority == priority && is_decode(*sequence) && is_runnable(*sequence))
      candidates_.push_back(sequence);
  }
  const auto slots = limits_.max_num_seqs - static_cast<int64_t>(items_.size());
  if (static_cast<int64_t>(candidates_.size()) > std::min(slots, tokens_left_)) {
    // More than one step takes: they take turns.
    std::sort(candidates_.begin(), candidates_.end(), [](const Sequence* a, const Sequence* b) {
      if (a->last_step == b->last_step) return ranks_before(a, b);
      return a->last_step < b->last_step;
    });
  }
  for (Sequence* sequence : candidates_) {
    if (is_full()) return;
    if (sequence->running) schedule_running(*sequence);
  }
}

void Scheduler::schedule_prefills(int32_t priority) {
  candidates_.clear();
  for (Sequence* sequence : running_) {
    if (sequence->request.priority == priority && !is_decode(*sequence) && is_runnable(*sequence))
      candidates_.push_back(sequence);
  }
  for (Sequence* sequence : candidates_) {
    if (is_full() || prompt_tokens_left_ == 0) return;
    if (sequence->running) schedule_running(*sequence);
  }
}

// False when one does not fit: nobody overtakes it, or a long prompt would never get in.
bool Scheduler::admit_waiting(int32_t priority) {
  for (size_t i = 0; i < waiting_.size() && !is_full() && prompt_tokens_left_ > 0;) {
    Sequence& sequence = *waiting_[i];
    const int64_t ready = ready_positions(sequence);
    if (ready == 0 || sequence.request.priority != priority) {
      ++i;  // waits for a chunk or a segment; others may pass
      continue;
    }
    // Blocks for the whole prompt, so that prompts in progress never compete for the last ones.
    make_room(sequence, ready);
    if (!give_blocks(sequence, ready)) return false;
    std::erase(waiting_, &sequence);
    sequence.running = true;
    insert_by_rank(running_, sequence);
    put_into_step(sequence);
  }
  return true;
}

// Blocks that are free or that others would give up for a new sequence.
int64_t Scheduler::num_blocks_within_reach(const Sequence& sequence) const {
  int64_t count = blocks_.num_free();
  for (const Sequence* other : running_) {
    if (other->awaits_segment || other->request.priority > sequence.request.priority)
      count += static_cast<int64_t>(other->blocks.size());
  }
  return count;
}

// Preempts until a new sequence's blocks are free; nobody when that cannot be reached.
void Scheduler::make_room(const Sequence& sequence, int64_t positions) {
  const int64_t wanted = blocks_.blocks_for(positions);
  if (wanted > num_blocks_within_reach(sequence)) return;
  while (wanted > blocks_.num_free()) {
    Sequence* victim = idle_victim();
    if (victim == nullptr && !running_.empty() &&
        running_.back()->request.priority > sequence.request.priority)
      victim = running_.back();
    if (victim == nullptr) return;  // blocks with several holders counted more than once
    preempt(*victim);
  }
}

// The last in rank of those that wait for a segment.
Sequence* Scheduler::idle_victim() const {
  const auto found = std::find_if(running_.rbegin(), running_.rend(),
                                  [](const Sequence* s) { return s->awaits_segment; });
  return found == running_.rend() ? nullptr : *found;
}

// To a sequence without any; those of a known prefix first.
bool Scheduler::give_blocks(Sequence& sequence, int64_t positions) {
  prefixes_.share_known(sequence);
  const auto known = static_cast<int64_t>(sequence.blocks.size());
  if (!blocks_.grow(sequence.blocks, positions)) {
    blocks_.release(sequence.blocks);
    return false;
  }
  prefixes_.begin_behind(sequence, known);
  return true;
}

void Scheduler::schedule_running(Sequence& sequence) {
  while (!blocks_.grow(sequence.blocks, ready_positions(sequence))) {
    Sequence* idle = idle_victim();
    Sequence& victim = idle != nullptr ? *idle : *running_.back();
    preempt(victim);
    if (&victim == &sequence) return;
  }
  put_into_step(sequence);
}

void Scheduler::put_into_step(Sequence& sequence) {
  // Positions computed again end where new ones begin: their results must not go out twice.
  const int64_t end = sequence.is_recomputing() ? sequence.high_water : ready_positions(sequence);
  int64_t count = std::min(end - sequence.num_computed, tokens_left_);
  if (!is_decode(sequence)) {
    count = std::min(count, prompt_tokens_left_);
    prompt_tokens_left_ -= count;
  }
  tokens_left_ -= count;
  sequence.last_step = step_;
  const bool reaches_end = sequence.num_computed + count == sequence.num_known();
  items_.push_back({&sequence, count, reaches_end && !sequence.is_prefill_only()});
}

void Scheduler::preempt(Sequence& victim) {
  ++num_preemptions_;
  ++victim.metrics.preemptions;
  const auto item = std::find_if(items_.begin(), items_.end(),
                                 [&](const ScheduledItem& i) { return i.sequence == &victim; });
  if (item != items_.end()) {
    tokens_left_ += item->count;
    if (!is_decode(victim)) prompt_tokens_left_ += item->count;
    items_.erase(item);
  }
  blocks_.release(victim.blocks);
  victim.num_computed = 0;
  victim.num_remembered = 0;
  victim.running = false;
  std::erase(running_, &victim);
  insert_by_rank(waiting_, victim);
}

}  // namespace tutti::ar
