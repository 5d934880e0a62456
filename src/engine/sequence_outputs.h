// SequenceOutputs: how what sequences produce leaves an engine: at once, or held for requests that
// want whole results; in a step, or between steps.
//
// Thread: the stage's replica thread. Invariants: outputs of one sequence leave in order.
#pragma once

#include <optional>
#include <vector>

#include "base/clock.h"
#include "engine/payload.h"
#include "models/stage_io.h"

namespace tutti {

// Nobody listens to a request that wants its result whole; it is as urgent as a listener whose
// buffer lasts this long, so that listeners go first and yet don't starve it.
inline constexpr std::chrono::seconds kWholeResultPatience{10};

// What every kind of engine knows of a sequence.
struct SequenceBase {
  StageRequest request = {};
  TimePoint submitted = {};
  uint64_t arrival = 0;
  StageMetrics metrics = {};
  HeldOutput held = {};  // output that waits for more of it
};

class SequenceOutputs {
 public:
  // clock: null means the steady one. epoch: zero of the times in metrics.
  SequenceOutputs(const Clock* clock, TimePoint epoch)
      : clock_(clock != nullptr ? *clock : Clock::steady()), epoch_(epoch) {}

  TimePoint now() const { return clock_.now(); }
  double seconds(TimePoint time) const { return to_seconds(time - epoch_); }
  double now_s() const { return seconds(now()); }

  // What may go out now of new output: all of it with what was held before, or, of a request that
  // wants whole results or when the output `may_wait`, nothing before its end (its segment's end).
  std::optional<StageOutput> release(SequenceBase& sequence, StageOutput output,
                                     bool may_wait = false) const;
  // Completes an output with whose it is and with its metrics.
  StageOutput sign(SequenceBase& sequence, StageOutput output) const;
  // The one that ends a sequence with an error.
  StageOutput failure(SequenceBase& sequence, Status error) const;
  // What a sequence had produced and not handed out.
  StageOutput rest(SequenceBase& sequence) const;

  // Outputs made outside a step; the next one hands them out.
  std::vector<StageOutput>& early() { return early_; }
  bool has_early() const { return !early_.empty(); }
  void take_early(std::vector<StageOutput>& outputs);
  void drop_early(RequestKey key);

 private:
  const Clock& clock_;
  TimePoint epoch_;
  std::vector<StageOutput> early_;
};

}  // namespace tutti
