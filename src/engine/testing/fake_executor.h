// FakeExecutor: runs a step at once in the calling thread, without a thread pool, and remembers
// what order was asked for. A test double.
#pragma once

#include <vector>

#include "backend/executor.h"

namespace tutti::testing {

class FakeExecutor final : public DeviceExecutor {
 public:
  Device device() const override { return {}; }
  int num_threads() const override { return 1; }
  void run(const StepOrder& order, FunctionRef<void(OpContext&)> step) override {
    last_order = order;
    ++num_steps;
    OpContext ctx{.device = {}, .workspace = workspace_};
    step(ctx);
  }
  ExecutorStats stats() const override { return {.steps = num_steps}; }

  bool has_listeners() const override { return listeners; }

  StepOrder last_order;
  bool listeners = false;
  uint64_t num_steps = 0;

 private:
  Workspace workspace_;
};

}  // namespace tutti::testing
