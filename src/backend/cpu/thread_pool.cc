#include "backend/cpu/thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "backend/cpu/affinity.h"
#include "backend/cpu/topology.h"

namespace tutti {

namespace {

using Clock = std::chrono::steady_clock;

// About the cost of waking a thread that sleeps on another core: spinning longer than that costs
// more than it saves.
constexpr std::chrono::microseconds kSpinTime{50};
constexpr int kPausesPerLook = 64;

// The pool and thread number whose loop body this thread is in.
thread_local const ThreadPool* current_pool = nullptr;
thread_local int current_thread = 0;

void pause_cpu() {
#ifdef __x86_64__
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// True when `done` held within the spin time.
template <typename Done>
bool spin_until(Done done) {
  const auto end = Clock::now() + kSpinTime;
  do {
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (done()) return true;
      pause_cpu();
    }
  } while (Clock::now() < end);
  return false;
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) {
  const std::vector<int> cores = cpu::physical_cores();
  const int count = num_threads > 0 ? num_threads : static_cast<int>(cores.size());
  // Pinned only where the pool has every core to itself: with more threads two on one core would
  // wait for each other, and with fewer the pools of several processes would choose the same.
  const bool pinned = count > 1 && count == static_cast<int>(cores.size());
  if (pinned) caller_core_ = cores[0];
  for (int thread = 1; thread < count; ++thread) {
    const int core = pinned ? cores[thread] : -1;
    workers_.emplace_back([this, thread, core] { work(thread, core); });
  }
}

ThreadPool::~ThreadPool() {
  stopping_.store(true);
  epoch_.fetch_add(1);
  epoch_.notify_all();
}

void ThreadPool::parallel_for(int64_t n, int64_t grain, Body body) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const bool nested = current_pool == this;
  if (n <= grain || workers_.empty() || nested || busy_.exchange(true)) {
    body(0, n, nested ? current_thread : 0);
    return;
  }
  job_ = {&body, n, grain};
  next_.store(0, std::memory_order_relaxed);
  gate_.store(kOpen, std::memory_order_release);
  epoch_.fetch_add(1);
  if (sleepers_.load() > 0) epoch_.notify_all();

  const ThreadPool* outer_pool = current_pool;
  const int outer_thread = current_thread;
  current_pool = this;
  current_thread = 0;
  take_pieces(0);
  current_pool = outer_pool;
  current_thread = outer_thread;

  // Workers that have not come yet stay out; those inside finish their piece.
  uint32_t inside = gate_.fetch_and(~kOpen) & ~kOpen;
  const auto all_left = [&] { return (inside = gate_.load(std::memory_order_acquire)) == 0; };
  if (inside != 0 && !spin_until(all_left)) {
    while (!all_left()) gate_.wait(inside);
  }
  busy_.store(false, std::memory_order_release);
}

void ThreadPool::take_pieces(int thread) {
  const Job job = job_;
  for (;;) {
    const int64_t begin = next_.fetch_add(job.grain, std::memory_order_relaxed);
    if (begin >= job.n) return;
    (*job.body)(begin, std::min(begin + job.grain, job.n), thread);
  }
}

bool ThreadPool::join_job() {
  uint32_t gate = gate_.load(std::memory_order_relaxed);
  while ((gate & kOpen) != 0) {
    if (gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel)) return true;
  }
  return false;
}

void ThreadPool::leave_job() {
  if (gate_.fetch_sub(1, std::memory_order_acq_rel) == 1) gate_.notify_one();
}

uint32_t ThreadPool::wait_for_work(uint32_t seen) {
  uint32_t epoch = seen;
  const auto changed = [&] { return (epoch = epoch_.load(std::memory_order_acquire)) != seen; };
  if (spin_until(changed)) return epoch;
  sleepers_.fetch_add(1);
  while (!changed()) epoch_.wait(seen);
  sleepers_.fetch_sub(1);
  return epoch;
}

void ThreadPool::work(int thread, int core) {
  pthread_setname_np(pthread_self(), ("cpu-worker-" + std::to_string(thread)).c_str());
  if (core >= 0) cpu::pin_this_thread(core);
  current_pool = this;
  current_thread = thread;
  uint32_t seen = 0;
  for (;;) {
    seen = wait_for_work(seen);
    if (stopping_.load()) return;
    if (!join_job()) continue;
    take_pieces(thread);
    leave_job();
  }
}

}  // namespace tutti
