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

}  // namespace tutti::ops
