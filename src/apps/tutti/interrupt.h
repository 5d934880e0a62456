// Ctrl-C as a flag: SIGINT and SIGTERM ask the running command to end in order; a second one ends
// the program at once.
#pragma once

namespace tutti::cli {

class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  bool interrupted() const;
  void wait() const;  // until the first signal
  void reset();       // the next signal is a first one again
};

}  // namespace tutti::cli
