#include "backend/executor.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <tuple>

#include "backend/cpu/affinity.h"
#include "backend/cpu/thread_pool.h"

namespace tutti {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kListenerMemory{250};

// One step at a time; who waits stands in an intrusive list on its own stack.
class CpuExecutor final : public DeviceExecutor {
 public:
  explicit CpuExecutor(int num_threads) : pool_(num_threads) {}

  Device device() const override { return Device{}; }
  int num_threads() const override { return pool_.num_threads(); }

  void run(const StepOrder& order, FunctionRef<void(OpContext&)> step) override {
    if (order.for_listener) ++listener_steps_;
    enter(order);
    const auto begin = Clock::now();
    {
      const cpu::PinnedScope own_core(pool_.caller_core());
      Workspace::Scope scope(workspace_);
      OpContext ctx{.device = device(), .workspace = workspace_, .pool = &pool_};
      step(ctx);
    }
    if (order.for_listener) {
      last_listener_.store(Clock::now().time_since_epoch().count(), std::memory_order_relaxed);
      --listener_steps_;
    }
    leave(std::chrono::duration<double>(Clock::now() - begin).count());
  }

  bool has_listeners() const override {
    if (listener_steps_.load(std::memory_order_relaxed) > 0) return true;
    const Clock::duration last(last_listener_.load(std::memory_order_relaxed));
    return last.count() != 0 && Clock::now().time_since_epoch() - last < kListenerMemory;
  }

  ExecutorStats stats() const override {
    std::lock_guard lock(mutex_);
    return stats_;
  }

 private:
  struct Waiter {
    StepOrder order;
    uint64_t arrival = 0;
    bool granted = false;
    std::condition_variable turn;
    Waiter* next = nullptr;

    auto rank() const { return std::tuple(order.priority, order.deadline, arrival); }
  };

  void enter(const StepOrder& order) {
    std::unique_lock lock(mutex_);
    if (!busy_) {
      busy_ = true;
      return;
    }
    Waiter self;
    self.order = order;
    self.arrival = arrivals_++;
    Waiter** at = &first_;
    while (*at != nullptr && (*at)->rank() < self.rank()) at = &(*at)->next;
    self.next = *at;
    *at = &self;
    ++stats_.waiting;
    self.turn.wait(lock, [&] { return self.granted; });
  }

  void leave(double seconds) {
    std::lock_guard lock(mutex_);
    ++stats_.steps;
    stats_.busy_s += seconds;
    stats_.workspace_high_water_bytes = workspace_.high_water_bytes();
    Waiter* next = first_;
    if (next == nullptr) {
      busy_ = false;
      return;
    }
    first_ = next->next;
    --stats_.waiting;
    next->granted = true;
    // Under the lock: the waiter's condition variable lives on its stack.
    next->turn.notify_one();
  }

  ThreadPool pool_;
  Workspace workspace_;  // of the step that runs

  std::atomic<int> listener_steps_{0};        // that wait or run
  std::atomic<Clock::rep> last_listener_{0};  // when the last one ended

  mutable std::mutex mutex_;
  bool busy_ = false;
  Waiter* first_ = nullptr;
  uint64_t arrivals_ = 0;
  ExecutorStats stats_;
};

}  // namespace

std::unique_ptr<DeviceExecutor> DeviceExecutor::create_cpu(int num_threads) {
  return std::make_unique<CpuExecutor>(num_threads);
}

}  // namespace tutti
