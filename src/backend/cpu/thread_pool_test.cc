#include "backend/cpu/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <set>
#include <string>

#include "backend/cpu/topology.h"

namespace tutti {
namespace {

TEST(ThreadPool, DoesEachIndexOnce) {
  for (int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.num_threads(), threads);
    for (int64_t n : {0, 1, 7, 100, 10'000}) {
      for (int64_t grain : {1, 3, 64, 20'000}) {
        std::vector<std::atomic<int>> count(n);
        pool.parallel_for(n, grain, [&](int64_t begin, int64_t end, int thread) {
          EXPECT_GE(thread, 0);
          EXPECT_LT(thread, threads);
          for (int64_t i = begin; i < end; ++i) ++count[i];
        });
        for (const auto& c : count) EXPECT_EQ(c, 1);
      }
    }
  }
}

TEST(ThreadPool, ThousandsOfShortLoopsInARow) {
  ThreadPool pool(3);
  int64_t total = 0;
  for (int round = 0; round < 5000; ++round) {
    std::atomic<int64_t> sum{0};
    pool.parallel_for(9, 2, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) sum += i;
    });
    total += sum;
  }
  EXPECT_EQ(total, 5000 * 36);
}

TEST(ThreadPool, AnInnerLoopRunsOnItsOwnThread) {
  ThreadPool pool(3);
  std::atomic<int64_t> done{0};
  pool.parallel_for(8, 1, [&](int64_t, int64_t, int outer) {
    pool.parallel_for(100, 1, [&](int64_t begin, int64_t end, int inner) {
      EXPECT_EQ(inner, outer);
      done += end - begin;
    });
  });
  EXPECT_EQ(done, 800);
}

TEST(ThreadPool, SeveralCallersAtOnceEachGetTheirWork) {
  ThreadPool pool(2);
  std::atomic<int64_t> done{0};
  {
    std::vector<std::jthread> callers;
    for (int c = 0; c < 3; ++c) {
      callers.emplace_back([&] {
        for (int round = 0; round < 500; ++round) {
          pool.parallel_for(10, 1, [&](int64_t begin, int64_t end, int) { done += end - begin; });
        }
      });
    }
  }
  EXPECT_EQ(done, 3 * 500 * 10);
}

// Seconds of CPU this process has used.
double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

TEST(ThreadPool, IdleItUsesNoCpu) {
  ThreadPool pool(4);
  pool.parallel_for(100, 1, [](int64_t, int64_t, int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // longer than any spinning
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(cpu_seconds() - before, 0.05);
}

TEST(Topology, CoresAreDistinctAndAllowed) {
  const std::vector<int> cores = cpu::physical_cores();
  ASSERT_FALSE(cores.empty());
  EXPECT_EQ(std::set<int>(cores.begin(), cores.end()).size(), cores.size());
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  ASSERT_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
  for (int core : cores) EXPECT_TRUE(CPU_ISSET(core, &allowed));
}

TEST(Topology, ANarrowerMaskGivesFewerCores) {
  cpu_set_t before;
  CPU_ZERO(&before);
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  const int only = cpu::physical_cores().back();
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(only, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(cpu::physical_cores(), std::vector<int>{only});
  EXPECT_EQ(ThreadPool(0).num_threads(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

}  // namespace
}  // namespace tutti
