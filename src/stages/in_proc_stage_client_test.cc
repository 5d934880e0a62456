// What only threads of this process do; stage_client_test.cc has what every transport does.
#include "stages/in_proc_stage_client.h"

#include <gtest/gtest.h>

#include "base/dual_queue.h"
#include "base/thread.h"
#include "stages/stage_pool.h"
#include "stages/testing/fake_stage_engine.h"

namespace tutti {
namespace {

// Long enough that only a hang runs into it.
Deadline soon() { return Deadline::after(30); }

class InProcStageClientTest : public testing::Test {
 protected:
  std::unique_ptr<InProcStageClient> make(StageEngineFactory factory, size_t capacity = 64) {
    graph_ = std::make_shared<const StageGraph>(StageGraph::build(fake::omni_specs()).value());
    return std::make_unique<InProcStageClient>(
        StageId(0), ReplicaId(0), graph_, std::move(factory),
        [this](StageEvent event) { events_.push(std::move(event), Deadline::never()); },
        InProcOptions{.mailbox_capacity = capacity});
  }
  static StageEngineFactory fake_factory(fake::FakeOptions options = {}) {
    return [options]() -> Result<std::unique_ptr<StageEngine>> {
      return std::unique_ptr<StageEngine>(
          std::make_unique<fake::FakeStageEngine>(0, true, options));
    };
  }
  StageCommand submit(uint64_t key, int32_t tokens) {
    auto request = std::make_unique<StageRequest>();
    request->key = RequestKey(key);
    request->sampling_params.max_tokens = tokens;
    return SubmitCommand{std::move(request), {}, true};
  }
  template <typename Body>
  Body next() {
    auto event = events_.pop(soon());
    if (!event || !std::holds_alternative<Body>(event->body)) {
      ADD_FAILURE() << "another event, or none";
      return Body{};
    }
    return std::get<Body>(std::move(event->body));
  }

  std::shared_ptr<const StageGraph> graph_;
  DualQueue<StageEvent> events_{1024};
};

TEST_F(InProcStageClientTest, LoadsInTheThreadOfItsName) {
  std::string name;
  auto client = make([&, inner = fake_factory()] {
    name = thread_name();
    return inner();
  });
  next<ReadyEvent>();
  EXPECT_EQ(name, "stage-0-0");
}

TEST_F(InProcStageClientTest, CommandsThatFindNoRoomWaitInThePool) {
  DualQueue<int> gate(1);
  auto client = make(
      [&, inner = fake_factory()] {
        gate.pop(soon());
        return inner();
      },
      /*capacity=*/2);
  StagePool pool([&](ReplicaId, uint32_t) { return std::move(client); }, 1);
  StageReplica& replica = pool.replica(ReplicaId(0));
  for (uint64_t key = 1; key <= 5; ++key) replica.send(submit(key, 1));
  EXPECT_EQ(replica.waiting_commands(), 3u);
  gate.close();
  int finished = 0;
  while (finished < 5) {
    auto event = events_.pop(soon());
    ASSERT_TRUE(event.has_value());
    if (std::holds_alternative<RoomEvent>(event->body)) replica.flush();
    if (auto* outputs = std::get_if<OutputsEvent>(&event->body)) {
      for (auto& output : outputs->outputs) finished += output.finished;
    }
  }
  EXPECT_EQ(replica.waiting_commands(), 0u);
}

TEST_F(InProcStageClientTest, AReplicaThatDoesNotEndIsLeftBehind) {
  auto gate = std::make_shared<DualQueue<int>>(1);
  auto client = make([gate, inner = fake_factory()] {
    gate->pop(Deadline::never());
    return inner();
  });
  client->stop();
  EXPECT_FALSE(client->join(Deadline::after(0.01)));
  client.reset();
  gate->close();
}

}  // namespace
}  // namespace tutti
