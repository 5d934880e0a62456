// What the op tests share: random tensors from a printed seed, a context of one or two threads,
// and comparisons: close to a formula in double, equal in every bit to another run.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "backend/context.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/thread_pool.h"
#include "tensor/tensor.h"

namespace tutti::op_check {

// Seeded from TUTTI_TEST_SEED, or 1; one stream per test.
class Random {
 public:
  Random();
  float normal(float scale = 1.0f) { return std::normal_distribution<float>(0, scale)(engine_); }
  float uniform(float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(engine_);
  }
  int64_t integer(int64_t low, int64_t high) {  // both included
    return std::uniform_int_distribution<int64_t>(low, high)(engine_);
  }
  Tensor tensor(Shape shape, float scale = 1.0f, DType dtype = DType::kF32);
  Tensor uniform_tensor(Shape shape, float low, float high);
  Tensor integers(Shape shape, int64_t low, int64_t high);
  DType weight_dtype() { return integer(0, 1) == 0 ? DType::kF32 : DType::kBF16; }

 private:
  std::mt19937_64 engine_;
};

// A context with its own pool (of 1 to 3 threads) and workspace.
struct Context {
  explicit Context(int threads) : pool(threads) {}
  ThreadPool pool;
  Workspace workspace;
  OpContext op{.device = {}, .workspace = workspace, .pool = &pool};
};
Context& one_thread();
Context& three_threads();

// Element i of a contiguous F32 or BF16 tensor.
double at(const Tensor& t, int64_t i);
// A strided copy of a matrix: the same rows inside a wider tensor.
Tensor with_stride(const Tensor& t, int64_t extra);

void expect_close(const Tensor& actual, const std::vector<double>& expected, double tolerance,
                  const std::string& what);
void expect_same_bits(const Tensor& actual, const Tensor& expected, const std::string& what);

// Runs `op` (which fills a fresh output and returns it) with the scalar kernels on one thread,
// compares with `expected`, then with every other instruction set and with three threads, which
// must give the same bits.
template <typename Op>
Tensor check_everywhere(const Op& op, const std::vector<double>& expected, double tolerance,
                        const std::string& what) {
  cpu::set_isa_for_testing(cpu::CpuIsa::kScalar);
  const Tensor reference = op(one_thread().op);
  expect_close(reference, expected, tolerance, what + ", scalar");
  for (cpu::CpuIsa isa : cpu::available_isas()) {
    cpu::set_isa_for_testing(isa);
    const std::string name(cpu::isa_name(isa));
    expect_same_bits(op(one_thread().op), reference, what + ", " + name);
    expect_same_bits(op(three_threads().op), reference, what + ", three threads, " + name);
  }
  return reference;
}

}  // namespace tutti::op_check
