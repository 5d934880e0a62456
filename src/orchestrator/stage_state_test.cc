// What control methods make of a stage, and that it holds for replicas that come later (issue 4).
#include "orchestrator/stage_state.h"

#include <algorithm>

#include "orchestrator/testing/orchestrator_fixture.h"

namespace tutti {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class StageStateTest : public OrchestratorTest {
 protected:
  void call(const std::string& method, const std::string& args_json = "{}",
            std::vector<int32_t> stages = {}) {
    RpcMessage message;
    message.ticket = 7;
    message.method = method;
    message.args_json = args_json;
    message.stage_ids = std::move(stages);
    message.deadline = clock_.now() + std::chrono::seconds(5);
    orchestrator_->handle(std::move(message));
  }
  void reply(int32_t stage, Result<std::string> result = std::string("true")) {
    tell(stage, RpcEvent{client(stage).last_rpc.ticket, std::move(result)});
  }
  void call_all(const std::string& method, const std::string& args_json = "{}") {
    call(method, args_json);
    std::vector<uint64_t> tickets;
    for (int32_t s = 0; s < graph_->size(); ++s) reply(s);
    EXPECT_TRUE(answer<RpcAnswer>().status.ok()) << method;
  }
  // The replica dies, and what the next one is told before anything else.
  std::vector<std::string> after_restart(int32_t stage) {
    die(stage);
    EXPECT_TRUE(pass_time());
    log_[stage].clear();
    tell(stage, ReadyEvent{});
    return log_[stage];
  }
};

TEST_F(StageStateTest, ARestartedReplicaIsPausedAgain) {
  start(true);
  call_all("pause");
  EXPECT_TRUE(pools_[1]->paused());
  EXPECT_THAT(after_restart(1), ElementsAre("rpc pause"));
  call_all("resume");
  EXPECT_FALSE(pools_[1]->paused());
  EXPECT_THAT(after_restart(1), IsEmpty());
}

TEST_F(StageStateTest, ARestartedReplicaSleepsAsDeep) {
  start(true);
  call_all("sleep", R"({"level":2})");
  EXPECT_EQ(pools_[0]->sleep_level(), 2);
  EXPECT_THAT(after_restart(0), ElementsAre("rpc sleep"));
  EXPECT_EQ(client(0).last_rpc.args_json, R"({"level":2})");
  call_all("wake_up");
  EXPECT_THAT(after_restart(0), IsEmpty());
}

TEST_F(StageStateTest, AnAddedReplicaIsBroughtToTheStateOfTheOthers) {
  start(true);
  call_all("pause");
  orchestrator_->handle(ReplicaMessage{.ticket = 1, .stage_id = 0, .remove = std::nullopt});
  log_[0].clear();
  tell(0, ReadyEvent{}, 1);
  EXPECT_THAT(log_[0], ElementsAre("rpc pause"));
}

TEST_F(StageStateTest, AdaptersComeBackWithTheirPinsWhereTheyWereTaken) {
  start(true);
  const std::string poet = R"({"lora_name":"poet","lora_path":"/poet"})";
  call("add_lora", poet);
  reply(0);
  reply(1, not_found("Unknown."));
  reply(2, not_found("Unknown."));
  answer<RpcAnswer>();
  call_all("pin_lora", R"({"lora_name":"poet"})");
  EXPECT_THAT(after_restart(0), ElementsAre("rpc add_lora", "rpc pin_lora"));
  EXPECT_THAT(after_restart(1), IsEmpty());
  // A sleep may have given them back.
  call_all("sleep");
  log_[0].clear();
  call("wake_up");
  EXPECT_THAT(log_[0], ElementsAre("rpc wake_up", "rpc add_lora", "rpc pin_lora"));
  call_all("remove_lora", R"({"lora_name":"poet"})");
  EXPECT_THAT(after_restart(0), IsEmpty());
}

TEST_F(StageStateTest, AReplicaThatGetsReadyDuringACallIsNotForgotten) {
  start(true, fake::omni_specs(), 2);
  die(0, 1);
  call("add_lora", R"({"lora_name":"poet","lora_path":"/poet"})", {0});
  ASSERT_TRUE(pass_time());
  tell(0, ReadyEvent{}, 1);
  const uint64_t asked = client(0).last_rpc.ticket;
  log_[0].clear();
  tell(0, RpcEvent{asked, std::string("true")});
  EXPECT_THAT(log_[0], ElementsAre("rpc add_lora"));
  EXPECT_EQ(client(0, 1).last_rpc.method, "add_lora");
}

TEST(StageStateBound, TheOldestAdapterThatIsNotPinnedGoes) {
  StageState state(2);
  for (const char* name : {"a", "b", "c"}) {
    const std::string args = std::string(R"({"lora_name":")") + name + R"(","lora_path":"/p"})";
    state.done("add_lora", args);
    if (*name == 'a') state.done("pin_lora", args);
  }
  std::vector<std::string> told;
  for (const RpcCommand& command : state.for_new_replica()) {
    told.push_back(command.method + " " + command.args_json);
  }
  EXPECT_THAT(told, ElementsAre(R"(add_lora {"lora_name":"a","lora_path":"/p"})",
                                R"(pin_lora {"lora_name":"a"})",
                                R"(add_lora {"lora_name":"c","lora_path":"/p"})"));
}

TEST_F(StageStateTest, StagesThatALiveSessionNeedsLaterDoNotSleep) {
  start(true);
  auto session = request(1, {2});
  session->segment.last = false;
  add(std::move(session));
  for (auto& log : log_) log.clear();
  for (const std::vector<int32_t>& stages : {std::vector<int32_t>{}, {2}}) {
    call("sleep", "{}", stages);
    const RpcAnswer refused = answer<RpcAnswer>();
    EXPECT_THAT(refused.status.message(),
                HasSubstr("1 request is in progress; the oldest is 'r1'"));
  }
  for (const auto& log : log_) EXPECT_THAT(log, IsEmpty());
  EXPECT_EQ(pools_[1]->sleep_level(), 0);
}

TEST_F(StageStateTest, ARequestThatIsLetGoOfKeepsNobodyAwake) {
  start(true);
  add(1, {0});
  orchestrator_->handle(AbortMessage{{RequestKey(1)}});
  log_[0].clear();
  call("sleep", "{}", {0});
  EXPECT_THAT(log_[0], ElementsAre("rpc sleep")) << "behind the abort";
}

TEST_F(StageStateTest, AStageThatNoLiveRequestNeedsMaySleep) {
  start(true);
  add(1, {0});
  call("sleep", "{}", {2});
  reply(2);
  EXPECT_TRUE(answer<RpcAnswer>().status.ok());
}

TEST_F(StageStateTest, WhenOneReplicaRefusesAllWakeUpAgain) {
  start(true);
  call("sleep");
  reply(0);
  reply(1, unimplemented("It cannot."));
  reply(2);
  const RpcAnswer refused = answer<RpcAnswer>();
  EXPECT_THAT(refused.status.message(), HasSubstr("replica 0 of stage 1 (talker)"));
  for (int32_t s = 0; s < 3; ++s) {
    EXPECT_EQ(client(s).last_rpc.method, "wake_up");
    EXPECT_EQ(pools_[s]->sleep_level(), 0);
  }
}

TEST_F(StageStateTest, WhenOneReplicaIsTooLateAllWakeUpAgain) {
  start(true);
  call("sleep");
  reply(0);
  ASSERT_TRUE(pass_time());
  EXPECT_EQ(answer<RpcAnswer>().status.code(), StatusCode::kDeadlineExceeded);
  for (int32_t s = 0; s < 3; ++s) EXPECT_EQ(client(s).last_rpc.method, "wake_up");
}

TEST_F(StageStateTest, AReplicaThatDiesMeanwhileKeepsNobodyAwake) {
  start(true);
  call("sleep");
  reply(0);
  reply(2);
  die(1);
  EXPECT_TRUE(answer<RpcAnswer>().status.ok());
  EXPECT_EQ(client(0).last_rpc.method, "sleep");
  ASSERT_TRUE(pass_time());
  tell(1, ReadyEvent{});
  EXPECT_EQ(client(1).last_rpc.method, "sleep");
}

TEST_F(StageStateTest, CommandsOfCallsThatAreOverDoNotPileUp) {
  start(true);
  client(0).full = true;
  for (int i = 0; i < 1000; ++i) {
    call(i % 2 == 0 ? "ping" : "pause", "{}", {0});
    ASSERT_TRUE(pass_time());
    EXPECT_EQ(answer<RpcAnswer>().status.code(), StatusCode::kDeadlineExceeded);
  }
  EXPECT_LE(pools_[0]->replica(ReplicaId(0)).waiting_commands(), 2u);
  client(0).full = false;
  tell(0, RoomEvent{});
  EXPECT_THAT(log_[0], ElementsAre("rpc wake_up", "rpc pause")) << "what they asked for, once";
}

}  // namespace
}  // namespace tutti
