#include "base/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace tutti {
namespace {

TEST(WorkerPool, ShortTasksDoNotWaitBehindWork) {
  WorkerPool pool("test", 3, 8);
  std::promise<void> open;
  const std::shared_future<void> gate = open.get_future().share();
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(pool.try_post([gate] { gate.wait(); }));
  std::promise<void> ran;
  pool.post([&] { ran.set_value(); });
  EXPECT_EQ(ran.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
  open.set_value();
}

TEST(WorkerPool, WorkIsBounded) {
  WorkerPool pool("test", 2, 2);
  std::promise<void> open, began;
  const std::shared_future<void> gate = open.get_future().share();
  ASSERT_TRUE(pool.try_post([&, gate] {
    began.set_value();
    gate.wait();
  }));
  began.get_future().wait();
  EXPECT_TRUE(pool.try_post([] {}));
  EXPECT_TRUE(pool.try_post([] {}));
  EXPECT_FALSE(pool.try_post([] {}));
  open.set_value();
}

TEST(WorkerPool, StopRunsEverythingThatWasTakenOnce) {
  std::atomic<int> runs{0};
  WorkerPool pool("test", 2, 1000);
  for (int i = 0; i < 200; ++i) {
    pool.post([&] { ++runs; });
    ASSERT_TRUE(pool.try_post([&] { ++runs; }));
  }
  pool.stop();
  EXPECT_EQ(runs, 400);
  EXPECT_FALSE(pool.try_post([&] { ++runs; }));
  pool.post([&] { ++runs; });
  EXPECT_EQ(runs, 401) << "afterwards in the calling thread";
}

TEST(WorkerPool, TimersRunInTheirOrderAndNotWhenCancelled) {
  WorkerPool pool("test", 2, 8);
  const TimePoint now = Clock::steady().now();
  std::promise<int> first;
  std::atomic<bool> cancelled_ran{false};
  const uint64_t cancelled =
      pool.post_at(now + std::chrono::milliseconds(1), [&] { cancelled_ran = true; });
  pool.cancel(cancelled);
  pool.post_at(now + std::chrono::hours(1), [&] { first.set_value(2); });
  pool.post_at(now + std::chrono::milliseconds(2), [&] { first.set_value(1); });
  EXPECT_EQ(first.get_future().get(), 1);
  EXPECT_FALSE(cancelled_ran);
}

}  // namespace
}  // namespace tutti
