// ThreadPool: the CPU's cores for one parallel loop at a time.
//
// The caller of parallel_for is thread 0 and works along; the workers of a pool over all physical
// cores that the process may run on are pinned to them. After work a worker spins for a few tens of
// microseconds (waking a sleeping thread costs about that much), then sleeps, so that an idle pool
// uses no CPU.
// Thread: parallel_for from any thread; a call from inside a loop, or while another caller's loop
// runs, does its work inline. Invariants: no allocation per call; each index is done exactly once.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/function_ref.h"

namespace tutti {

class ThreadPool {
 public:
  // body(begin, end, thread) with thread in [0, num_threads()).
  using Body = FunctionRef<void(int64_t begin, int64_t end, int thread)>;

  // 0: one thread per physical core this process may run on.
  explicit ThreadPool(int num_threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }
  // The core that no worker is pinned to, for a caller of many loops (cpu::PinnedScope): on a
  // worker's core he and the worker would keep each other from working. -1 when workers float.
  int caller_core() const { return caller_core_; }

  // Covers [0, n) in pieces of `grain` (the last may be shorter), taken in order by whichever
  // thread is free. With n <= grain, or one thread, the caller does all at once.
  void parallel_for(int64_t n, int64_t grain, Body body);

 private:
  struct Job {
    const Body* body = nullptr;
    int64_t n = 0;
    int64_t grain = 1;
  };

  void work(int thread, int core);
  void take_pieces(int thread);
  bool join_job();
  void leave_job();
  uint32_t wait_for_work(uint32_t seen);

  static constexpr uint32_t kOpen = 1u << 31;

  Job job_;
  alignas(64) std::atomic<int64_t> next_{0};
  // kOpen while workers may join the job, plus the number of those inside.
  alignas(64) std::atomic<uint32_t> gate_{0};
  // Counts jobs; workers sleep on it.
  alignas(64) std::atomic<uint32_t> epoch_{0};
  std::atomic<int32_t> sleepers_{0};
  std::atomic<bool> busy_{false};
  std::atomic<bool> stopping_{false};
  int caller_core_ = -1;
  std::vector<std::jthread> workers_;
};

}  // namespace tutti
