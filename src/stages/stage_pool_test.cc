// Routing and the slots' lives; what deaths mean for requests is in the orchestrator's tests.
#include "stages/stage_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <stdexcept>
#include <thread>

#include "stages/client_reaper.h"

namespace tutti {
namespace {

using testing::ElementsAre;

// Counts what happens to it.
struct Calls {
  int commands = 0;
  int stops = 0;
  int joins = 0;
};
class CountingClient final : public StageClient {
 public:
  explicit CountingClient(std::shared_ptr<Calls> calls) : calls_(std::move(calls)) {}
  bool try_send(StageCommand&) override {
    if (full) return false;
    ++calls_->commands;
    return true;
  }
  EngineStats stats() const override { return {.steps = 7}; }
  void stop() override { ++calls_->stops; }
  bool join(Deadline) override {
    ++calls_->joins;
    return true;
  }
  bool full = false;

 private:
  const std::shared_ptr<Calls> calls_;
};

class StagePoolTest : public testing::Test {
 protected:
  void start(int32_t replicas, RouterPolicy router = RouterPolicy::kLeastOutstanding) {
    PoolOptions options;
    options.router = router;
    options.dispose = [this](std::shared_ptr<StageClient>) { ++disposed_; };
    pool_ = std::make_unique<StagePool>(
        [this](ReplicaId replica, uint32_t incarnation) {
          lives_.emplace_back(replica.value, incarnation);
          return std::make_unique<CountingClient>(calls_);
        },
        replicas, options);
  }
  void set(int32_t replica, ReplicaState state) {
    pool_->replica(ReplicaId(replica)).set_state(state);
  }
  // The replica that a request is bound to; -1: it waits; -2: there is none.
  int32_t bind(Route route = {}) {
    ReplicaId id;
    switch (pool_->route(route, &id)) {
      case RouteResult::kWait:
        return -1;
      case RouteResult::kNone:
        return -2;
      case RouteResult::kReady:
        break;
    }
    pool_->replica(id).bind();
    return id.value;
  }

  const std::shared_ptr<Calls> calls_ = std::make_shared<Calls>();
  std::vector<std::pair<int32_t, uint32_t>> lives_;
  int disposed_ = 0;
  std::unique_ptr<StagePool> pool_;
};

TEST_F(StagePoolTest, TheLeastLoadedReadyReplicaIsPicked) {
  start(3);
  EXPECT_EQ(bind(), -1) << "none is ready yet";
  EXPECT_FALSE(pool_->has_live_replica());
  for (int32_t r = 0; r < 3; ++r) set(r, ReplicaState::kReady);
  std::vector<int32_t> picked;
  for (int i = 0; i < 4; ++i) picked.push_back(bind());
  EXPECT_THAT(picked, ElementsAre(0, 1, 2, 0));
  set(0, ReplicaState::kDraining);
  set(2, ReplicaState::kDead);
  EXPECT_EQ(bind(), 1);
  set(1, ReplicaState::kDead);
  EXPECT_EQ(bind(), -2);
  set(1, ReplicaState::kRestarting);
  EXPECT_EQ(bind(), -1);
}

TEST_F(StagePoolTest, RoundRobinTakesTurnsAmongTheReady) {
  start(3, RouterPolicy::kRoundRobin);
  for (int32_t r = 0; r < 3; ++r) set(r, ReplicaState::kReady);
  EXPECT_EQ(bind(), 0);
  EXPECT_EQ(bind(), 1);
  set(2, ReplicaState::kRestarting);
  EXPECT_EQ(bind(), 0);
  EXPECT_EQ(bind(), 1);
  set(2, ReplicaState::kReady);
  EXPECT_EQ(bind(), 2);
}

TEST_F(StagePoolTest, StickyRequestsMoveOnlyWhenTheirReplicaGoes) {
  start(4, RouterPolicy::kSticky);
  for (int32_t r = 0; r < 4; ++r) set(r, ReplicaState::kReady);
  std::map<uint64_t, int32_t> before;
  std::vector<int> load(4, 0);
  for (uint64_t hash = 0; hash < 400; ++hash) {
    before[hash] = bind({.rank = {}, .hash = hash});
    ++load[before[hash]];
  }
  for (const int count : load) EXPECT_GT(count, 50);
  set(2, ReplicaState::kRestarting);
  for (const auto& [hash, replica] : before) {
    const int32_t now = bind({.rank = {}, .hash = hash});
    if (replica != 2) {
      EXPECT_EQ(now, replica);
    } else {
      EXPECT_NE(now, 2);
    }
  }
}

TEST_F(StagePoolTest, ARankIsThatReplicaOrNone) {
  start(2);
  set(0, ReplicaState::kReady);
  EXPECT_EQ(bind({.rank = 1}), -1) << "it starts";
  EXPECT_EQ(bind({.rank = 0}), 0);
  EXPECT_EQ(bind({.rank = 2}), -2);
  EXPECT_EQ(bind({.rank = -1}), -2);
  set(1, ReplicaState::kDraining);
  EXPECT_EQ(bind({.rank = 1}), -2);
}

TEST_F(StagePoolTest, EveryLifeOfASlotHasItsOwnIncarnation) {
  start(2);
  const StageReplica& replica = pool_->replica(ReplicaId(1));
  EXPECT_EQ(replica.incarnation(), 0u);
  pool_->retire(ReplicaId(1), ReplicaState::kRestarting);
  EXPECT_EQ(replica.client(), nullptr);
  EXPECT_EQ(replica.stats().steps, 0);
  EXPECT_EQ(calls_->stops, 1);
  EXPECT_EQ(disposed_, 1);
  pool_->start(ReplicaId(1), ReplicaState::kRestarting);
  EXPECT_EQ(replica.incarnation(), 1u);
  EXPECT_EQ(replica.stats().steps, 7);
  pool_->retire(ReplicaId(1), ReplicaState::kRemoved);
  EXPECT_EQ(pool_->add_slot(), ReplicaId(1)) << "an empty slot is used again";
  pool_->start(ReplicaId(1), ReplicaState::kStarting);
  EXPECT_EQ(pool_->add_slot(), ReplicaId(2));
  EXPECT_THAT(lives_,
              ElementsAre(std::pair(0, 0u), std::pair(1, 0u), std::pair(1, 1u), std::pair(1, 2u)));
}

TEST_F(StagePoolTest, CommandsOfAReplicaThatGoesAreDropped) {
  start(1);
  StageReplica& replica = pool_->replica(ReplicaId(0));
  static_cast<CountingClient*>(replica.client())->full = true;
  replica.send(AbortCommand{RequestKey(1)});
  EXPECT_EQ(replica.waiting_commands(), 1u);
  pool_->retire(ReplicaId(0), ReplicaState::kRestarting);
  EXPECT_EQ(replica.waiting_commands(), 0u);
  replica.send(AbortCommand{RequestKey(1)});
  EXPECT_EQ(calls_->commands, 0);
}

TEST_F(StagePoolTest, AFactoryMayThrowAndTheSlotStaysWithoutClient) {
  bool broken = false;
  StagePool pool(
      [&](ReplicaId, uint32_t) -> std::unique_ptr<StageClient> {
        if (broken) throw std::runtime_error("no threads left");
        return std::make_unique<CountingClient>(calls_);
      },
      1);
  pool.retire(ReplicaId(0), ReplicaState::kRestarting);
  broken = true;
  EXPECT_THROW(pool.start(ReplicaId(0), ReplicaState::kRestarting), std::runtime_error);
  EXPECT_EQ(pool.replica(ReplicaId(0)).client(), nullptr);
}

TEST_F(StagePoolTest, FiguresCanBeReadWhileReplicasComeAndGo) {
  start(1);
  std::atomic<bool> done{false};
  std::thread reader([&] {
    while (!done.load()) {
      for (int32_t r = 0; r < pool_->size(); ++r) {
        const StageReplica& replica = pool_->replica(ReplicaId(r));
        EXPECT_THAT(replica.stats().steps, testing::AnyOf(0, 7));
        EXPECT_GE(replica.outstanding(), 0);
      }
      EXPECT_FALSE(pool_->has_live_replica());
    }
  });
  for (int i = 0; i < 200; ++i) {
    const ReplicaId id = pool_->add_slot().value();
    pool_->start(id, ReplicaState::kStarting);
    pool_->retire(id, i % 10 == 0 ? ReplicaState::kDead : ReplicaState::kRemoved);
  }
  done = true;
  reader.join();
}

TEST(ClientReaper, WaitsForWhatItTakesAndLetsItGo) {
  const auto calls = std::make_shared<Calls>();
  std::weak_ptr<Calls> alive = calls;
  {
    ClientReaper reaper;
    for (int i = 0; i < 3; ++i) reaper.take(std::make_shared<CountingClient>(calls));
  }
  EXPECT_EQ(calls->joins, 3);
  EXPECT_EQ(alive.use_count(), 1);
}

}  // namespace
}  // namespace tutti
