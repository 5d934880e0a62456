// Several linear maps in one parallel region: shared by linear, convolutions and experts.
#pragma once

#include <span>

#include "backend/context.h"
#include "backend/cpu/kernels/kernels.h"

namespace tutti::ops {

struct LinearTask {
  cpu::LinearArgs args;
  int64_t rows = 0;
  int64_t columns = 0;
};

// Runs every task once; no order among them.
void run_linear_tasks(OpContext& ctx, std::span<const LinearTask> tasks);

// Collects tasks and runs them in regions of up to kTasks, the last at its end.
class TaskList {
 public:
  explicit TaskList(OpContext& ctx) : ctx_(ctx) {}
  ~TaskList() { run(); }
  TaskList(const TaskList&) = delete;
  TaskList& operator=(const TaskList&) = delete;

  void add(const LinearTask& task) {
    if (count_ == kTasks) run();
    tasks_[count_++] = task;
  }
  void run() {
    run_linear_tasks(ctx_, {tasks_, count_});
    count_ = 0;
  }

 private:
  static constexpr size_t kTasks = 64;
  OpContext& ctx_;
  LinearTask tasks_[kTasks];
  size_t count_ = 0;
};

}  // namespace tutti::ops
