// collective_rpc, control methods, replicas, stats.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <limits>
#include <thread>

#include "orchestrator/control_methods.h"
#include "orchestrator/testing/engine_fixture.h"

namespace tutti::fake {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

using ControlTest = EngineFixture;

TEST_F(ControlTest, CollectiveRpcAnswersByStageThenReplica) {
  EngineParts parts = fake_parts(omni_specs());
  parts.stages[1].num_replicas = 2;
  start_parts(std::move(parts));
  const auto results = engine_->collective_rpc("ping", 30);
  ASSERT_TRUE(results) << results.error().message();
  std::vector<std::pair<int32_t, int32_t>> labels;
  for (const RpcResult& result : *results) {
    EXPECT_TRUE(result.status.ok());
    EXPECT_EQ(result.result_json, "\"pong\"");
    labels.emplace_back(result.stage_id, result.replica_id);
  }
  const std::vector<std::pair<int32_t, int32_t>> expected{{0, 0}, {1, 0}, {1, 1}, {2, 0}};
  EXPECT_EQ(labels, expected);
  EXPECT_THAT(*engine_->collective_rpc("ping", 30, "", "", {1}), SizeIs(2));
}

TEST_F(ControlTest, CollectiveRpcRunsBesideRequests) {
  const auto gate = std::make_shared<Gate>();
  std::vector<FakeOptions> stages(3);
  stages[2] = gated(gate);
  start(stages);
  ASSERT_TRUE(engine_->add_request(request("a", 5)).ok());
  gate->wait_for(1);
  EXPECT_TRUE(engine_->collective_rpc("ping", 30, "", "", {0, 1}));
  gate->open();
  EXPECT_EQ(read_until_end("a").finish_reason, FinishReason::kStop);
}

TEST_F(ControlTest, CollectiveRpcTimesOutAndDropsLateAnswers) {
  const auto gate = std::make_shared<Gate>();
  start({gated(gate)});
  ASSERT_TRUE(engine_->add_request(request("a", 5)).ok());
  gate->wait_for(1);
  EXPECT_EQ(engine_->collective_rpc("ping", 0.02).error().code(), StatusCode::kDeadlineExceeded);
  gate->open();
  read_until_end("a");
  EXPECT_THAT(*engine_->collective_rpc("ping", 30), SizeIs(3)) << "not the late answer";
  EXPECT_EQ(engine_->queues()[2].size, 0);
}

TEST_F(ControlTest, WrongCallsAreErrorsThatListWhatIsKnown) {
  start();
  const auto refused = [&](const Result<std::vector<RpcResult>>& result, const char* what) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(result.error().message(), HasSubstr(what));
  };
  refused(engine_->collective_rpc("pong"), "did you mean 'ping'? known are: add_lora");
  refused(engine_->collective_rpc("ping", 1, "", "", {3}), "the stages 0 to 2");
  refused(engine_->collective_rpc("ping", 1, "", "", {-1}), "the stages 0 to 2");
  refused(engine_->collective_rpc("ping", 0), "larger than 0");
  refused(engine_->collective_rpc("ping", std::numeric_limits<double>::quiet_NaN()),
          "larger than 0");
  refused(engine_->collective_rpc("ping", 1, "[1]"), "at most 0 arguments");
}

TEST_F(ControlTest, AMethodThatAStageLacksIsThatReplicasError) {
  start();
  const auto results = engine_->collective_rpc("list_loras", 30);
  ASSERT_TRUE(results);
  for (const RpcResult& result : *results) EXPECT_FALSE(result.status.ok());
}

TEST(ControlArguments, PositionalAndNamedOnesBecomeOneObject) {
  const auto object = [](const char* method, const char* args, const char* kwargs) {
    return control_arguments(method, args, kwargs);
  };
  EXPECT_EQ(*object("ping", "", ""), "{}");
  EXPECT_EQ(*object("sleep", "[1]", ""), R"({"level":1})");
  EXPECT_EQ(*object("add_lora", R"(["poet"])", R"({"lora_path":"/p"})"),
            R"({"lora_name":"poet","lora_path":"/p"})");
  const auto refused = [&](const char* method, const char* args, const char* kwargs,
                           const char* what) {
    const auto result = object(method, args, kwargs);
    ASSERT_FALSE(result) << what;
    EXPECT_THAT(result.error().message(), HasSubstr(what));
  };
  refused("sleep", "{}", "", "`args` must be a JSON array");
  refused("sleep", "", "[]", "`kwargs` must be a JSON object");
  refused("sleep", "[", "", "`args` must be a JSON array");
  refused("sleep", "[\"deep\"]", "", "must be a whole number");
  refused("sleep", "", R"({"depth":1})", "known are: level");
  refused("sleep", "[1]", R"({"level":1})", "given twice");
  refused("ping", "", R"({"x":1})", "it takes none");
  refused("add_lora", R"(["poet"])", "", "needs the argument `lora_path`");
}

TEST_F(ControlTest, ReplicasCanBeAddedAndRemoved) {
  start();
  EXPECT_EQ(engine_->add_replica(1, 30).value(), 1);
  EXPECT_THAT(engine_->stage_pools()[1].replicas, SizeIs(2));
  AddRequest mine = request("a", 5);
  ASSERT_TRUE(engine_->add_request(mine).ok());
  EXPECT_EQ(read_until_end("a").tokens.at(2).size(), 5u);
  ASSERT_TRUE(engine_->remove_replica(1, 0, 30).ok());
  ASSERT_THAT(engine_->stage_pools()[1].replicas, SizeIs(1));
  EXPECT_EQ(engine_->stage_clients()[1].replica_id, 1);
  mine.request_id = "b";
  ASSERT_TRUE(engine_->add_request(mine).ok());
  EXPECT_EQ(read_until_end("b").tokens.at(2).size(), 5u);
  EXPECT_THAT(engine_->remove_replica(1, 1, 30).message(), HasSubstr("the last one"));
  EXPECT_EQ(engine_->remove_replica(1, 7, 30).code(), StatusCode::kNotFound);
  EXPECT_THAT(engine_->remove_replica(3, 0, 30).message(), HasSubstr("the stages 0 to 2"));
  EXPECT_THAT(engine_->add_replica(-1, 30).error().message(), HasSubstr("the stages 0 to 2"));
}

TEST_F(ControlTest, RemoveReplicaWaitsForItsRequests) {
  const auto gate = std::make_shared<Gate>();
  std::vector<FakeOptions> stages(3);
  stages[1] = gated(gate);
  start(stages);
  ASSERT_TRUE(engine_->add_request(request("a", 5)).ok());
  gate->wait_for(1);
  ASSERT_EQ(engine_->add_replica(1, 30).value(), 1);
  const Status drains = engine_->remove_replica(1, 0, 0.02);
  EXPECT_EQ(drains.code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(drains.message(), HasSubstr("when those that it has have ended; 1 is left"));
  EXPECT_EQ(engine_->stage_pools()[1].replicas[0].state, "draining");
  AddRequest late = request("late", 5);
  late.data_parallel_rank = 0;
  expect_refused(late, "`data_parallel_rank` is 0; stage 1 (talker) has: 1.", "data_parallel_rank");
  gate->open();
  EXPECT_EQ(read_until_end("a").finish_reason, FinishReason::kStop);
  while (engine_->stage_pools()[1].replicas.size() > 1) std::this_thread::yield();
}

TEST_F(ControlTest, StatsCountWhatBecameOfRequests) {
  FakeOptions talker;
  talker.fault = [](RequestKey key, int32_t) {
    return key.value == 2 ? Fault::kStepError : Fault::kNone;
  };
  const auto gate = std::make_shared<Gate>();
  talker.on_admit = [gate](const StageRequest& request, int32_t) {
    if (request.request_id == "stuck") gate->pass();
  };
  start({{}, talker, {}});
  ASSERT_TRUE(engine_->add_request(request("good", 3)).ok());
  read_until_end("good");
  ASSERT_TRUE(engine_->add_request(request("bad", 3)).ok());
  read_until_end("bad");
  ASSERT_TRUE(engine_->add_request(request("stuck", 3)).ok());
  gate->wait_for(1);
  EXPECT_EQ(engine_->stats().live_requests, 1);
  ASSERT_TRUE(engine_->abort({"stuck"}).ok());
  gate->open();
  read_until_end("stuck");
  const OmniStats stats = engine_->stats();
  EXPECT_EQ(stats.accepted, 3);
  EXPECT_EQ(stats.finished, 1);
  EXPECT_EQ(stats.failed, 1);
  EXPECT_EQ(stats.aborted, 1);
  EXPECT_EQ(stats.live_requests, 0);
  EXPECT_EQ(stats.waiting_requests, 0);
  EXPECT_EQ(stats.retried, 0);
  EXPECT_THAT(stats.queues, SizeIs(3));
  EXPECT_THAT(stats.pools, SizeIs(3));
  EXPECT_GT(stats.pools[0].replicas[0].steps, 0);
}

}  // namespace
}  // namespace tutti::fake
