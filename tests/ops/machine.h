// What the machine can do at this moment: shared machines change from one millisecond to the next,
// so the benchmark measures copying and multiplying right beside every run of an op.
#pragma once

#include "backend/cpu/thread_pool.h"
#include "tensor/tensor.h"

namespace tutti::op_check {

class Machine {
 public:
  explicit Machine(ThreadPool& pool);

  // memcpy over all threads, GB/s of bytes read plus bytes written, outside the caches.
  double copy_gb_s();
  // F32 fused multiply-adds over all threads, two operations each.
  double gflops();

 private:
  ThreadPool& pool_;
  Tensor from_;
  Tensor to_;
  int64_t at_ = 0;
};

}  // namespace tutti::op_check
