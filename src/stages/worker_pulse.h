// WorkerPulse: a worker's signs of life, in a page of memory that it shares with its parent: beats,
// which a thread of its own counts, and turns, which the thread that runs the steps counts.
// WorkerWatch: the parent's judgement of them.
//
// Beside the channel, because that stands still while its reader or writer does. Beats end when the
// whole process is stopped; turns, when a step or loading hangs. Thread: beat() one thread, the
// turns another; reading any. Ownership: the memory; the mapping is shared by copies.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "tutti/status.h"

#include "base/clock.h"
#include "base/unique_fd.h"

namespace tutti {

class WorkerPulse {
 public:
  // How often beats come.
  static constexpr Duration kInterval = std::chrono::milliseconds(500);

  static Result<WorkerPulse> create();
  // What the other process made.
  static Result<WorkerPulse> open(UniqueFd memory);
  int memory_fd() const;

  // --- the worker's side
  void beat() const;
  // Something was done, within a turn.
  void progress() const;
  // Work begins, and ends: between the two the worker's thread must go on.
  void begin_turn() const;
  void end_turn() const;

  // --- the parent's side
  uint64_t beats() const;
  // Grows with turns and progress; odd: within a turn.
  uint64_t turns() const;

 private:
  struct Page;
  class Mapping;
  explicit WorkerPulse(std::shared_ptr<Mapping> mapping) : mapping_(std::move(mapping)) {}

  std::shared_ptr<Mapping> mapping_;
};

// Thread: one.
class WorkerWatch {
 public:
  WorkerWatch(double silence_limit_s, double turn_limit_s)
      : silence_limit_s_(silence_limit_s), turn_limit_s_(turn_limit_s) {}

  // Not OK: the worker will not come back ("has given no sign of life for 20 s"). To be asked at
  // least every WorkerPulse::kInterval; time in which nobody asked is not held against the worker,
  // since then this process, or the whole machine, stood still.
  Status look(TimePoint now, uint64_t beats, uint64_t turns);

 private:
  const double silence_limit_s_;
  const double turn_limit_s_;
  TimePoint last_look_{};
  uint64_t beats_ = 0;
  uint64_t turns_ = 0;
  double silent_s_ = 0;
  double in_turn_s_ = 0;
};

}  // namespace tutti
