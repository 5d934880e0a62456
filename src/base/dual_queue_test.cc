#include "base/dual_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

namespace tutti {
namespace {

TEST(DualQueue, KeepsOrderAndCapacity) {
  DualQueue<int> queue(2);
  EXPECT_EQ(queue.try_push(1), QueueResult::kOk);
  EXPECT_EQ(queue.try_push(2), QueueResult::kOk);
  EXPECT_EQ(queue.try_push(3), QueueResult::kFull);
  EXPECT_EQ(queue.high_water(), 2u);
  EXPECT_EQ(queue.try_pop(), 1);
  EXPECT_EQ(queue.try_push(3), QueueResult::kOk);
  EXPECT_EQ(queue.try_pop(), 2);
  EXPECT_EQ(queue.try_pop(), 3);
  EXPECT_EQ(queue.try_pop(), std::nullopt);
}

TEST(DualQueue, RefusedValueStaysWithTheCaller) {
  DualQueue<std::unique_ptr<int>> queue(1);
  ASSERT_EQ(queue.try_push(std::make_unique<int>(1)), QueueResult::kOk);
  auto second = std::make_unique<int>(2);
  EXPECT_EQ(queue.try_push(std::move(second)), QueueResult::kFull);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(queue.push(std::move(second), Deadline::after(0.001)), QueueResult::kFull);
  ASSERT_NE(second, nullptr);
  queue.close();
  EXPECT_EQ(queue.try_push(std::move(second)), QueueResult::kClosed);
  EXPECT_NE(second, nullptr);
}

TEST(DualQueue, PopGivesUpAtTheDeadline) {
  DualQueue<int> queue(1);
  EXPECT_EQ(queue.pop(Deadline::after(0.005)), std::nullopt);
  EXPECT_EQ(queue.pop(Deadline::after(-1)), std::nullopt);
  std::vector<int> all;
  EXPECT_EQ(queue.pop_all(all, Deadline::after(0.001)), 0u);
}

TEST(DualQueue, CloseLetsTheRestOutAndNothingIn) {
  DualQueue<int> queue(4);
  ASSERT_EQ(queue.try_push(1), QueueResult::kOk);
  queue.close();
  EXPECT_TRUE(queue.closed());
  EXPECT_FALSE(queue.drained());
  EXPECT_FALSE(queue.force_push(2));
  EXPECT_EQ(queue.pop(Deadline::never()), 1);
  EXPECT_TRUE(queue.drained());
  EXPECT_EQ(queue.pop(Deadline::never()), std::nullopt);
}

TEST(DualQueue, CloseWakesSleepers) {
  DualQueue<int> queue(1);
  ASSERT_EQ(queue.try_push(1), QueueResult::kOk);
  std::thread producer([&] { EXPECT_EQ(queue.push(2, Deadline::never()), QueueResult::kClosed); });
  DualQueue<int> empty(1);
  std::thread consumer([&] { EXPECT_EQ(empty.pop(Deadline::never()), std::nullopt); });
  queue.close();
  empty.close();
  producer.join();
  consumer.join();
}

TEST(DualQueue, ReadyIsCalledWhenAnEmptyQueueFillsAndWhenItCloses) {
  DualQueue<int> queue(4);
  int calls = 0;
  queue.on_ready([&] { ++calls; });
  ASSERT_EQ(queue.try_push(1), QueueResult::kOk);
  ASSERT_EQ(queue.try_push(2), QueueResult::kOk);
  EXPECT_EQ(calls, 1);
  std::vector<int> all;
  EXPECT_EQ(queue.try_pop_all(all), 2u);
  ASSERT_EQ(queue.try_push(3), QueueResult::kOk);
  EXPECT_EQ(calls, 2);
  queue.close();
  EXPECT_EQ(calls, 3);
}

TEST(DualQueue, RoomIsCalledOnceAfterARefusedPush) {
  DualQueue<int> queue(1);
  int calls = 0;
  queue.on_room([&] { ++calls; });
  ASSERT_EQ(queue.try_push(1), QueueResult::kOk);
  EXPECT_EQ(queue.try_pop(), 1);
  EXPECT_EQ(calls, 0) << "nobody had been refused";
  ASSERT_EQ(queue.try_push(1), QueueResult::kOk);
  ASSERT_EQ(queue.try_push(2), QueueResult::kFull);
  ASSERT_EQ(queue.try_push(2), QueueResult::kFull);
  EXPECT_EQ(queue.try_pop(), 1);
  EXPECT_EQ(calls, 1);
}

TEST(DualQueue, ForcePushIgnoresTheCapacity) {
  DualQueue<int> queue(1);
  ASSERT_EQ(queue.try_push(1), QueueResult::kOk);
  EXPECT_TRUE(queue.force_push(2));
  EXPECT_EQ(queue.size(), 2u);
}

TEST(DualQueue, ExtractsFromTheMiddle) {
  DualQueue<int> queue(4);
  for (int i = 1; i <= 3; ++i) ASSERT_EQ(queue.try_push(int(i)), QueueResult::kOk);
  EXPECT_EQ(queue.extract_if([](int i) { return i == 2; }), 2);
  EXPECT_EQ(queue.extract_if([](int i) { return i == 2; }), std::nullopt);
  EXPECT_EQ(queue.try_pop(), 1);
  EXPECT_EQ(queue.try_pop(), 3);
}

TEST(DualQueue, PopsTheBestAndOfEqualOnesTheFirst) {
  DualQueue<std::pair<int, int>> queue(4);
  for (const auto& item : {std::pair{2, 0}, {1, 1}, {1, 2}}) {
    ASSERT_EQ(queue.try_push(std::pair(item)), QueueResult::kOk);
  }
  const auto less = [](const auto& a, const auto& b) { return a.first < b.first; };
  EXPECT_EQ(queue.try_pop_best(less), std::pair(1, 1));
  EXPECT_EQ(queue.try_pop_best(less), std::pair(1, 2));
  EXPECT_EQ(queue.try_pop_best(less), std::pair(2, 0));
  EXPECT_EQ(queue.try_pop_best(less), std::nullopt);
}

TEST(DualQueue, WhoWatchesHearsOfTheNextElementToo) {
  DualQueue<int> queue(4);
  int calls = 0;
  queue.on_ready([&] { ++calls; });
  ASSERT_EQ(queue.try_push(1), QueueResult::kOk);
  ASSERT_EQ(queue.try_push(2), QueueResult::kOk);
  EXPECT_EQ(calls, 1);
  int sum = 0;
  queue.watch([&](int i) { sum += i; });
  EXPECT_EQ(sum, 3);
  ASSERT_EQ(queue.try_push(3), QueueResult::kOk);
  ASSERT_EQ(queue.try_push(4), QueueResult::kOk);
  EXPECT_EQ(calls, 2);
}

TEST(DualQueue, ManyThreadsLoseAndRepeatNothing) {
  constexpr int kProducers = 3, kConsumers = 2, kEach = 3000;
  DualQueue<int> queue(7);
  std::vector<std::thread> producers, consumers;
  std::vector<std::vector<int>> taken(kConsumers);
  for (int p = 0; p < kProducers; ++p) {
    producers.emplace_back([&, p] {
      for (int i = 0; i < kEach; ++i) {
        ASSERT_EQ(queue.push(p * kEach + i, Deadline::never()), QueueResult::kOk);
      }
    });
  }
  for (int c = 0; c < kConsumers; ++c) {
    consumers.emplace_back([&, c] {
      // One consumer takes one by one, the other everything that is there.
      if (c == 0) {
        while (auto item = queue.pop(Deadline::never())) taken[c].push_back(*item);
      } else {
        while (queue.pop_all(taken[c], Deadline::never(), std::chrono::microseconds(20)) > 0) {
        }
      }
    });
  }
  for (auto& t : producers) t.join();
  queue.close();
  for (auto& t : consumers) t.join();
  std::vector<int> seen(kProducers * kEach, 0);
  for (const auto& list : taken) {
    std::vector<int> last(kProducers, -1);
    for (int item : list) {
      ++seen[item];
      EXPECT_LT(last[item / kEach], item) << "one producer's elements stay in order";
      last[item / kEach] = item;
    }
  }
  for (int count : seen) ASSERT_EQ(count, 1);
  EXPECT_LE(queue.high_water(), 7u);
}

TEST(Clock, FakeStandsStillAndDeadlinesPass) {
  FakeClock clock;
  const TimePoint start = clock.now();
  EXPECT_EQ(clock.now(), start);
  const Deadline deadline = Deadline::at(start + from_seconds(1));
  EXPECT_FALSE(deadline.passed(clock.now()));
  clock.advance(from_seconds(1));
  EXPECT_TRUE(deadline.passed(clock.now()));
  EXPECT_FALSE(Deadline::never().passed(TimePoint::max()));
  EXPECT_EQ(from_seconds(std::nan("")), Duration::zero());
  EXPECT_GT(from_seconds(1e300), Duration::zero());
}

}  // namespace
}  // namespace tutti
