#include "orchestrator/orchestrator_thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "stages/testing/fake_stage_engine.h"

namespace tutti {
namespace {

using testing::HasSubstr;

class NullClient final : public StageClient {
 public:
  bool try_send(StageCommand&) override { return true; }
  EngineStats stats() const override { return {}; }
  void stop() override {}
  bool join(Deadline) override { return true; }
};

std::unique_ptr<AcceptedRequest> request(uint64_t key) {
  auto accepted = std::make_unique<AcceptedRequest>();
  accepted->key = RequestKey(key);
  accepted->request_id = "r" + std::to_string(key);
  accepted->segment.sampling_params.resize(1);
  accepted->segment.seeds.resize(1);
  accepted->final_output_stage_ids = {0};
  return accepted;
}

TEST(OrchestratorThread, WhenItDiesEveryRequestLearnsItAndThenTheEngine) {
  const auto graph = std::make_shared<const StageGraph>(
      StageGraph::build({fake::fake_spec("alone", {}, "text")}).value());
  StagePools pools;
  pools.push_back(std::make_unique<StagePool>(
      [](ReplicaId, uint32_t) { return std::make_unique<NullClient>(); }, 1));
  RequestQueue requests(4);
  OutputQueue outputs(4);
  RpcOutputQueue rpc_outputs(4);
  const auto mailbox = std::make_shared<OrchestratorMailbox>(16);
  OrchestratorOptions options;
  options.max_live_requests = 1;
  options.on_replica_state = [](StageId, ReplicaId, ReplicaState state, const Status&) {
    if (state == ReplicaState::kDead) throw std::runtime_error("out of memory");
  };
  OrchestratorThread thread(graph, pools, {requests, outputs, rpc_outputs}, mailbox, options);
  thread.start();
  thread.post(StageEvent{StageId(0), ReplicaId(0), ReadyEvent{}});
  ASSERT_EQ(requests.push(request(1), Deadline::never()), QueueResult::kOk);
  ASSERT_EQ(requests.push(request(2), Deadline::never()), QueueResult::kOk);
  thread.post(StageEvent{StageId(0), ReplicaId(0), DiedEvent{internal_error("Signal 9.")}});

  std::vector<ErrorMessage> errors;
  while (auto message = outputs.pop(Deadline::after(30))) {
    errors.push_back(std::get<ErrorMessage>(std::move(*message)));
  }
  ASSERT_EQ(errors.size(), 3u);
  EXPECT_EQ(errors[0].request_id, "r1");
  EXPECT_EQ(errors[1].request_id, "r2");
  EXPECT_FALSE(errors[1].fatal);
  EXPECT_TRUE(errors[2].fatal);
  EXPECT_THAT(errors[2].error.message(), HasSubstr("out of memory"));
  EXPECT_TRUE(outputs.drained());
  EXPECT_EQ(requests.try_push(request(3)), QueueResult::kClosed);
  thread.shut_down();
  EXPECT_FALSE(thread.running());
}

}  // namespace
}  // namespace tutti
