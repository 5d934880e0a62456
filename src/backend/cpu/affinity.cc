#include "backend/cpu/affinity.h"

namespace tutti::cpu {

bool pin_this_thread(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  return sched_setaffinity(0, sizeof(set), &set) == 0;
}

PinnedScope::PinnedScope(int core) {
  if (core < 0) return;
  CPU_ZERO(&before_);
  pinned_ = sched_getaffinity(0, sizeof(before_), &before_) == 0 && pin_this_thread(core);
}

PinnedScope::~PinnedScope() {
  if (pinned_) (void)sched_setaffinity(0, sizeof(before_), &before_);
}

}  // namespace tutti::cpu
