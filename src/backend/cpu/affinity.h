// Which core a thread may run on.
#pragma once

#include <sched.h>

namespace tutti::cpu {

// Lets the calling thread run on this core alone. False where that is refused (some containers);
// the thread then floats, which is slower but right.
bool pin_this_thread(int core);

// Pins the calling thread to a core as long as this lives, then lets it go where it could before.
// A core below 0 pins nothing.
class PinnedScope {
 public:
  explicit PinnedScope(int core);
  ~PinnedScope();
  PinnedScope(const PinnedScope&) = delete;
  PinnedScope& operator=(const PinnedScope&) = delete;

 private:
  cpu_set_t before_;
  bool pinned_ = false;
};

}  // namespace tutti::cpu
