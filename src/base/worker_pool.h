// WorkerPool: a few threads for work that must not run where it was asked for, and for telling
// callers what came of it.
//
// Thread: every method from any thread; stop() and the destructor not from a task. Invariants:
// every task that was taken runs exactly once (timers that are pending at stop() do not); work
// leaves one thread free, so that short tasks never wait behind it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"

namespace tutti {

class WorkerPool {
 public:
  using Task = std::function<void()>;

  // At least two threads. Not more than `most_work` tasks of try_post() wait.
  WorkerPool(std::string name, int num_threads, size_t most_work);
  ~WorkerPool() { stop(); }

  // Work that may take its time. False, and nothing done, when too much waits or after stop().
  bool try_post(Task task);
  // The same without the bound: whoever posts it bounds how much there is. After stop() it runs at
  // once, in the calling thread.
  void post_work(Task task);
  // A short task, before all work: else as post_work().
  void post(Task task);
  // post() at a time, unless cancelled before. The id is never 0.
  uint64_t post_at(TimePoint when, Task task);
  void cancel(uint64_t timer);
  // Ends when everything that was posted has run.
  void stop();

 private:
  void put(std::deque<Task>& queue, Task task);
  void loop(int index);
  // With the lock held: moves what is due, then takes the next task. None: nothing to do.
  Task next(bool* is_work);

  const std::string name_;
  const size_t most_work_;
  const int most_working_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> short_;  // guarded by mutex_, as all below
  std::deque<Task> work_;
  std::map<std::pair<TimePoint, uint64_t>, Task> timers_;
  std::map<uint64_t, TimePoint> timer_times_;
  uint64_t last_timer_ = 0;
  int working_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace tutti
