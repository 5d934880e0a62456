#include "base/worker_pool.h"

#include <algorithm>
#include <utility>

#include "base/thread.h"

namespace tutti {

WorkerPool::WorkerPool(std::string name, int num_threads, size_t most_work)
    : name_(std::move(name)), most_work_(most_work), most_working_(std::max(num_threads, 2) - 1) {
  for (int i = 0; i < std::max(num_threads, 2); ++i) {
    threads_.emplace_back([this, i] { loop(i); });
  }
}

bool WorkerPool::try_post(Task task) {
  const std::lock_guard lock(mutex_);
  if (stopping_ || work_.size() >= most_work_) return false;
  work_.push_back(std::move(task));
  changed_.notify_one();
  return true;
}

void WorkerPool::post(Task task) { put(short_, std::move(task)); }

void WorkerPool::post_work(Task task) { put(work_, std::move(task)); }

void WorkerPool::put(std::deque<Task>& queue, Task task) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopping_) {
      queue.push_back(std::move(task));
      changed_.notify_one();
      return;
    }
  }
  task();
}

uint64_t WorkerPool::post_at(TimePoint when, Task task) {
  const std::lock_guard lock(mutex_);
  const uint64_t id = ++last_timer_;
  timers_.emplace(std::pair(when, id), std::move(task));
  timer_times_.emplace(id, when);
  changed_.notify_all();  // whoever sleeps until the earliest timer must look again
  return id;
}

void WorkerPool::cancel(uint64_t timer) {
  const std::lock_guard lock(mutex_);
  const auto found = timer_times_.find(timer);
  if (found == timer_times_.end()) return;
  timers_.erase({found->second, timer});
  timer_times_.erase(found);
}

void WorkerPool::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    timers_.clear();
    timer_times_.clear();
    changed_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

WorkerPool::Task WorkerPool::next(bool* is_work) {
  const TimePoint now = Clock::steady().now();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    short_.push_back(std::move(timers_.begin()->second));
    timer_times_.erase(timers_.begin()->first.second);
    timers_.erase(timers_.begin());
  }
  *is_work = short_.empty();
  std::deque<Task>& queue = *is_work ? work_ : short_;
  if (queue.empty() || (*is_work && working_ == most_working_)) return {};
  Task task = std::move(queue.front());
  queue.pop_front();
  return task;
}

void WorkerPool::loop(int index) {
  set_thread_name(name_ + "-" + std::to_string(index));
  std::unique_lock lock(mutex_);
  for (;;) {
    bool is_work = false;
    if (Task task = next(&is_work)) {
      working_ += is_work;
      lock.unlock();
      task();
      task = {};  // what it holds goes before the lock is taken
      lock.lock();
      working_ -= is_work;
      if (is_work && !work_.empty()) changed_.notify_one();
    } else if (stopping_ && short_.empty() && work_.empty()) {
      changed_.notify_all();
      return;
    } else if (timers_.empty()) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, timers_.begin()->first.first);
    }
  }
}

}  // namespace tutti
