// DeviceExecutor: one per device. Stage engines hand it steps; it decides which runs next.
//
// On a CPU a step runs on its own replica's thread with all threads of the pool to help, one step
// at a time, so that stages never oversubscribe the cores. Waiting steps are ordered by priority
// (smaller first), then by deadline (whoever's listener runs dry first), then by arrival.
// Thread: run() from any thread. Owns: the thread pool and the scratch memory of the device.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "backend/context.h"
#include "base/function_ref.h"

namespace tutti {

struct StepOrder {
  int32_t priority = 0;
  // Steady-clock time by which the step's result is needed; max when nobody waits in real time.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  bool for_listener = false;  // somebody hears the result while it is made
};

struct ExecutorStats {
  uint64_t steps = 0;
  uint64_t waiting = 0;  // steps whose turn has not come
  double busy_s = 0;     // wall time inside steps
  size_t workspace_high_water_bytes = 0;
};

class DeviceExecutor {
 public:
  // num_threads 0: one per physical core this process may run on.
  static std::unique_ptr<DeviceExecutor> create_cpu(int num_threads = 0);
  virtual ~DeviceExecutor() = default;

  virtual Device device() const = 0;
  virtual int num_threads() const = 0;
  // Blocks until the step's turn, runs it with the device's context, returns.
  virtual void run(const StepOrder& order, FunctionRef<void(OpContext&)> step) = 0;
  virtual ExecutorStats stats() const = 0;
  // Whether somebody has listened to steps of this device within the last quarter of a second, so
  // that long steps should be cut. Any thread.
  virtual bool has_listeners() const = 0;
};

}  // namespace tutti
