#include "backend/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <mutex>
#include <thread>
#include <vector>

#include "backend/cpu/thread_pool.h"

namespace tutti {
namespace {

using Clock = std::chrono::steady_clock;

TEST(CpuExecutor, GivesStepsADeviceAPoolAndScratch) {
  const auto executor = DeviceExecutor::create_cpu(2);
  EXPECT_EQ(executor->num_threads(), 2);
  EXPECT_EQ(executor->device(), Device{});
  void* first = nullptr;
  for (int round = 0; round < 2; ++round) {
    executor->run({}, [&](OpContext& ctx) {
      ASSERT_NE(ctx.pool, nullptr);
      EXPECT_EQ(ctx.pool->num_threads(), 2);
      const Tensor scratch = ctx.workspace.tensor({1000});
      if (round == 0) first = scratch.raw_data();
      EXPECT_EQ(scratch.raw_data(), first) << "a step's scratch is free again after it";
    });
  }
  EXPECT_EQ(executor->stats().steps, 2u);
  EXPECT_GE(executor->stats().workspace_high_water_bytes, 4000u);
}

TEST(CpuExecutor, RunsOneStepAtATime) {
  const auto executor = DeviceExecutor::create_cpu(1);
  std::atomic<int> inside{0}, most{0};
  int64_t sum = 0;  // guarded by the executor alone
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 200; ++i) {
          executor->run({.priority = t % 2}, [&](OpContext&) {
            most = std::max(most.load(), ++inside);
            ++sum;
            --inside;
          });
        }
      });
    }
  }
  EXPECT_EQ(most, 1);
  EXPECT_EQ(sum, 800);
  EXPECT_EQ(executor->stats().steps, 800u);
}

TEST(CpuExecutor, WaitingStepsRunByPriorityThenDeadlineThenArrival) {
  const auto executor = DeviceExecutor::create_cpu(1);
  const auto now = Clock::now();
  const auto at = [&](int seconds) { return now + std::chrono::seconds(seconds); };
  const StepOrder orders[] = {
      {.priority = 1, .deadline = at(1)}, {.priority = 0}, {.priority = 0, .deadline = at(9)},
      {.priority = 0, .deadline = at(5)}, {.priority = 0}, {.priority = -1}};
  const std::vector<int> expected{5, 3, 2, 1, 4, 0};

  std::latch holding(1), release(1);
  std::jthread holder([&] {
    executor->run({.priority = 100}, [&](OpContext&) {
      holding.count_down();
      release.wait();
    });
  });
  holding.wait();
  std::vector<int> ran;  // guarded by the executor
  std::vector<std::jthread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back(
        [&, i] { executor->run(orders[i], [&](OpContext&) { ran.push_back(i); }); });
    while (executor->stats().waiting != static_cast<uint64_t>(i + 1)) std::this_thread::yield();
  }
  release.count_down();
  threads.clear();
  EXPECT_EQ(ran, expected);
}

TEST(CpuExecutor, KnowsWhetherSomebodyListens) {
  const auto executor = DeviceExecutor::create_cpu(1);
  executor->run({}, [](OpContext&) {});
  EXPECT_FALSE(executor->has_listeners());
  executor->run({.for_listener = true},
                [&](OpContext&) { EXPECT_TRUE(executor->has_listeners()); });
}

}  // namespace
}  // namespace tutti
