// The state machine, message by message. Here: aborts, deaths, replicas and control methods.
#include "orchestrator/testing/orchestrator_fixture.h"

namespace tutti {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(OrchestratorTest, AnAbortIsSaidWhenEveryStageHasLetGo) {
  start(true);
  add(1, {0, 2});
  put_out(0, output(1, {5}));
  put_out(1, output(1, {6}));
  orchestrator_->handle(AbortMessage{{RequestKey(1), RequestKey(1), RequestKey(9)}, 7});
  EXPECT_THAT(said(), ElementsAre("r1/0: 5"));
  put_out(0, output(1, {8}));
  acknowledge(0, 1, output(1, {9}));
  acknowledge(1, 1);
  EXPECT_THAT(said(), ElementsAre());
  EXPECT_EQ(orchestrator_->live_requests(), 1u);
  acknowledge(2, 1, output(1, {7}));
  EXPECT_THAT(said(), ElementsAre("r1/2: 7", "r1/0: 8 9!"));
  EXPECT_EQ(last_output_.output.finish_reason, FinishReason::kAbort);
  EXPECT_EQ(orchestrator_->live_requests(), 0u);
  const auto done = answer<AbortAnswer>();
  EXPECT_EQ(done.ticket, 7u);
  ASSERT_EQ(done.results.size(), 1u) << "unknown ids and repeated ones are not in it";
  EXPECT_THAT(done.results[0].output.output.token_ids, ElementsAre(8, 9));
}

TEST_F(OrchestratorTest, AnAbortOfNothingIsAnsweredAtOnce) {
  start(true);
  orchestrator_->handle(AbortMessage{{RequestKey(9)}, 7});
  EXPECT_TRUE(answer<AbortAnswer>().results.empty());
}

TEST_F(OrchestratorTest, WhoWaitsInTheQueueIsAbortedAtOnce) {
  options_.max_live_requests = 1;
  start(true);
  add(1, {0});
  add(2, {0});
  orchestrator_->handle(AbortMessage{{RequestKey(2)}, 7});
  EXPECT_THAT(said(), ElementsAre("r2/0:!"));
  EXPECT_EQ(answer<AbortAnswer>().results[0].request_id, "r2");
}

TEST_F(OrchestratorTest, AnAbortThatIsNotAcknowledgedEndsAtItsTimeout) {
  start(true);
  add(1, {0});
  orchestrator_->handle(AbortMessage{{RequestKey(1)}, 7});
  const TimePoint asked = clock_.now();
  ASSERT_TRUE(pass_time());
  EXPECT_EQ(clock_.now() - asked, options_.abort_timeout);
  EXPECT_THAT(said(), ElementsAre("r1/0:!"));
  EXPECT_EQ(answer<AbortAnswer>().results.size(), 1u);
  EXPECT_EQ(pools_[0]->replica(ReplicaId(0)).outstanding(), 0);
  acknowledge(0, 1);
  EXPECT_THAT(said(), ElementsAre());
}

TEST_F(OrchestratorTest, AnErrorIsSaidAtOnceAndAnAbortBehindItFindsNothingToSay) {
  start(true);
  add(1, {0, 2});
  put_out(0, output(1, {5}));
  StageOutput failed = output(1, {}, true);
  failed.error = internal_error("The talker broke.");
  put_out(1, std::move(failed));
  EXPECT_THAT(said(), ElementsAre("r1/0: 5", "r1 error"));
  orchestrator_->handle(AbortMessage{{RequestKey(1)}, 7});
  EXPECT_EQ(rpc_outputs_.size(), 0u) << "stage 0 has not let go";
  acknowledge(0, 1);
  EXPECT_TRUE(answer<AbortAnswer>().results.empty());
  EXPECT_THAT(said(), ElementsAre());
}

TEST_F(OrchestratorTest, Guarantee4_ADeathRetriesWhatHadDeliveredNothing) {
  start(true, fake::omni_specs(), 2);
  add(1, {2});
  add(2, {0});
  put_out(0, output(1, {5}));
  const std::vector<std::string> before = log_[0];
  die(1);
  EXPECT_EQ(log_[0].back(), "abort") << "the other stages begin again too";
  put_out(0, output(1, {6}));
  EXPECT_EQ(log_[0].size(), before.size() + 1) << "not before all have let go";
  acknowledge(0, 1);
  EXPECT_EQ(log_[0].back(), "submit complete");
  EXPECT_EQ(client(0).last_request.seed, 100u) << "the same seeds: the same tokens";
  put_out(0, output(1, {5}, true));
  put_out(1, output(1, {6}, true), 1);
  put_out(2, output(1, {7}, true));
  EXPECT_THAT(said(), ElementsAre("r1 metrics 0", "r1 metrics 1", "r1/2: 7!"));
  put_out(0, output(2, {8}, true), 1);
  EXPECT_THAT(said(), ElementsAre("r2/0: 8!")) << "others go on";
}

TEST_F(OrchestratorTest, Guarantee4_WhatHadDeliveredSomethingFailsWithTheCause) {
  start(true, fake::omni_specs(), 2);
  add(1, {0});
  put_out(0, output(1, {5}));
  die(0);
  EXPECT_THAT(said(), ElementsAre("r1/0: 5", "r1 error"));
  EXPECT_EQ(last_error_.code(), StatusCode::kUnavailable);
  EXPECT_THAT(last_error_.message(), HasSubstr("stage 0 (thinker)"));
  EXPECT_THAT(last_error_.message(), HasSubstr("Signal 9"));
  EXPECT_EQ(orchestrator_->live_requests(), 0u);
}

TEST_F(OrchestratorTest, Guarantee4_NoMoreRetriesThanAllowed) {
  start(true, fake::omni_specs(), 3);
  add(1, {0});
  die(0, 0);
  EXPECT_THAT(said(), ElementsAre());
  die(0, 1);
  EXPECT_THAT(said(), ElementsAre("r1 error"));
}

TEST_F(OrchestratorTest, Guarantee4_APoolRestartsItsReplicaWithBackOff) {
  start(true);
  for (const int wait_ms : {100, 200, 400}) {
    die(0);
    EXPECT_EQ(pools_[0]->replica(ReplicaId(0)).state(), ReplicaState::kRestarting);
    EXPECT_EQ(pools_[0]->replica(ReplicaId(0)).client(), nullptr);
    const TimePoint died = clock_.now();
    ASSERT_TRUE(pass_time());
    EXPECT_EQ(clock_.now() - died, std::chrono::milliseconds(wait_ms));
    ASSERT_NE(pools_[0]->replica(ReplicaId(0)).client(), nullptr);
    tell(0, ReadyEvent{});
    EXPECT_EQ(pools_[0]->replica(ReplicaId(0)).state(), ReplicaState::kReady);
  }
  clock_.advance(std::chrono::seconds(60));
  die(0);
  EXPECT_EQ(*orchestrator_->next_timer() - clock_.now(), std::chrono::milliseconds(100))
      << "it had been well for long";
}

TEST_F(OrchestratorTest, EventsOfAnEarlierLifeAreIgnored) {
  start(true);
  add(1, {0});
  die(0);
  ASSERT_TRUE(pass_time());
  tell(0, ReadyEvent{});
  EXPECT_THAT(log_[0], ElementsAre("submit complete", "submit complete"));
  OutputsEvent old;
  old.outputs.push_back(output(1, {5}, true));
  orchestrator_->handle(StageEvent{StageId(0), ReplicaId(0), std::move(old), 0});
  orchestrator_->handle(StageEvent{StageId(0), ReplicaId(0), DiedEvent{}, 0});
  EXPECT_THAT(said(), ElementsAre());
  put_out(0, output(1, {6}, true));
  EXPECT_THAT(said(), ElementsAre("r1/0: 6!"));
}

TEST_F(OrchestratorTest, ADeathBeforeTheFirstReadyIsForGood) {
  start(true);
  pools_[0]->retire(ReplicaId(0), ReplicaState::kRemoved);
  const ReplicaId slot = pools_[0]->add_slot().value();
  pools_[0]->start(slot, ReplicaState::kStarting);
  Orchestrator fresh(graph_, pools_, OrchestratorQueues{requests_, outputs_, rpc_outputs_}, clock_,
                     options_);
  fresh.handle(StageEvent{StageId(0), slot, DiedEvent{internal_error("no file")}, 1});
  EXPECT_EQ(pools_[0]->replica(slot).state(), ReplicaState::kDead);
  EXPECT_EQ(fresh.next_timer(), std::nullopt);
}

TEST_F(OrchestratorTest, Guarantee5_WhoWaitsForAReplicaGetsItOrAnErrorInTime) {
  options_.replica_wait = std::chrono::seconds(2);
  start(true);
  die(0);
  auto late = request(1, {0}), urgent = request(2, {0});
  urgent->priority = 1;
  add(std::move(late));
  add(std::move(urgent));
  EXPECT_THAT(said(), ElementsAre());
  ASSERT_TRUE(pass_time());  // the restart
  log_[0].clear();
  tell(0, ReadyEvent{});
  EXPECT_EQ(log_[0].size(), 2u);
  EXPECT_EQ(client(0).last_request.request_id, "r1") << "the urgent one came first";
  orchestrator_->handle(AbortMessage{{RequestKey(1), RequestKey(2)}, 0});
  acknowledge(0, 1);
  acknowledge(0, 2);
  said();

  die(0);
  add(3, {0});
  const TimePoint waits = clock_.now();
  while (orchestrator_->live_requests() > 0) ASSERT_TRUE(pass_time());
  EXPECT_EQ(clock_.now() - waits, options_.replica_wait);
  EXPECT_THAT(said(), ElementsAre("r3 error"));
  EXPECT_EQ(last_error_.code(), StatusCode::kUnavailable);
}

TEST_F(OrchestratorTest, AnAbortEndsWhoWaitsForAReplicaAndWhoIsRetried) {
  start(true, fake::omni_specs(), 2);
  add(1, {2});
  put_out(0, output(1, {5}));
  die(1, 0);  // stage 0 has still to let go
  orchestrator_->handle(AbortMessage{{RequestKey(1)}, 7});
  acknowledge(0, 1);
  EXPECT_THAT(said(), ElementsAre("r1/2:!"));
  EXPECT_EQ(answer<AbortAnswer>().results.size(), 1u);
  die(0, 0);
  die(0, 1);
  add(2, {0});
  orchestrator_->handle(AbortMessage{{RequestKey(2)}, 0});
  EXPECT_THAT(said(), ElementsAre("r2/0:!"));
}

TEST_F(OrchestratorTest, ARankIsThatReplicaOrAnError) {
  start(true, fake::omni_specs(), 2);
  auto ranked = request(1, {0});
  ranked->data_parallel_rank = 1;
  add(std::move(ranked));
  EXPECT_EQ(pools_[0]->replica(ReplicaId(1)).outstanding(), 1);
  ranked = request(2, {0});
  ranked->data_parallel_rank = 2;
  add(std::move(ranked));
  EXPECT_THAT(said(), ElementsAre("r2 error"));
  EXPECT_THAT(last_error_.message(), HasSubstr("live replica 2 of stage 0"));
}

TEST_F(OrchestratorTest, ReplicasAreAddedDrainedAndRemoved) {
  start(true);
  orchestrator_->handle(ReplicaMessage{1, 0, 0});
  EXPECT_THAT(answer<ReplicaAnswer>().replica_id.error().message(), HasSubstr("last one"));
  orchestrator_->handle(ReplicaMessage{2, 0, {}});
  EXPECT_EQ(rpc_outputs_.size(), 0u) << "it is not ready";
  tell(0, ReadyEvent{}, 1);
  EXPECT_EQ(answer<ReplicaAnswer>().replica_id.value(), 1);
  add(1, {0});
  orchestrator_->handle(ReplicaMessage{3, 0, 0});
  EXPECT_EQ(pools_[0]->replica(ReplicaId(0)).state(), ReplicaState::kDraining);
  add(2, {0});
  EXPECT_EQ(pools_[0]->replica(ReplicaId(1)).outstanding(), 1) << "nothing new where it drains";
  put_out(0, output(1, {5}, true));
  EXPECT_THAT(said(), ElementsAre("r1/0: 5!"));
  EXPECT_EQ(answer<ReplicaAnswer>().replica_id.value(), 0);
  EXPECT_EQ(pools_[0]->replica(ReplicaId(0)).state(), ReplicaState::kRemoved);
  orchestrator_->handle(ReplicaMessage{4, 0, 0});
  EXPECT_THAT(answer<ReplicaAnswer>().replica_id.error().message(), HasSubstr("it has: 1"));
  orchestrator_->handle(ReplicaMessage{5, 7, {}});
  EXPECT_THAT(answer<ReplicaAnswer>().replica_id.error().message(), HasSubstr("0 to 2"));
}

TEST_F(OrchestratorTest, AnAddedReplicaThatDoesNotStartIsAnErrorAndGone) {
  start(true);
  orchestrator_->handle(ReplicaMessage{2, 0, {}});
  die(0, 1);
  EXPECT_THAT(answer<ReplicaAnswer>().replica_id.error().message(), HasSubstr("Signal 9"));
  EXPECT_EQ(pools_[0]->replica(ReplicaId(1)).state(), ReplicaState::kRemoved);
  EXPECT_EQ(orchestrator_->next_timer(), std::nullopt);
}

TEST_F(OrchestratorTest, ControlMethodsGoToAllReplicasAndComeBackInOrder) {
  start(true, fake::omni_specs(), 2);
  orchestrator_->handle(RpcMessage{7, "ping", "{}", {2, 0}, TimePoint::max()});
  EXPECT_THAT(log_[0], ElementsAre("rpc ping", "rpc ping"));
  EXPECT_TRUE(log_[1].empty());
  for (const auto& [stage, replica] : {std::pair(2, 1), {0, 1}, {2, 0}, {0, 0}}) {
    EXPECT_EQ(rpc_outputs_.size(), 0u);
    const Result<std::string> result =
        stage == 2 && replica == 0 ? Result<std::string>(not_found("no")) : std::string("1");
    tell(stage, RpcEvent{client(stage, replica).last_rpc.ticket, result}, replica);
  }
  const auto done = answer<RpcAnswer>();
  EXPECT_EQ(done.ticket, 7u);
  EXPECT_TRUE(done.status.ok());
  std::vector<std::pair<int32_t, int32_t>> order;
  for (const RpcResult& r : done.results) order.emplace_back(r.stage_id, r.replica_id);
  EXPECT_THAT(order,
              ElementsAre(std::pair(0, 0), std::pair(0, 1), std::pair(2, 0), std::pair(2, 1)));
  EXPECT_EQ(done.results[2].status.code(), StatusCode::kNotFound);
  EXPECT_EQ(done.results[3].result_json, "1");
}

TEST_F(OrchestratorTest, ControlMethodsEndAtTheirDeadlineAndWithTheirReplica) {
  start(true);
  const TimePoint deadline = clock_.now() + std::chrono::seconds(1);
  orchestrator_->handle(RpcMessage{7, "ping", "{}", {0, 1}, deadline});
  tell(1, RpcEvent{client(1).last_rpc.ticket, std::string("1")});
  ASSERT_TRUE(pass_time());
  const auto late = answer<RpcAnswer>();
  EXPECT_EQ(late.status.code(), StatusCode::kDeadlineExceeded);
  ASSERT_EQ(late.results.size(), 1u) << "what came in time";
  tell(0, RpcEvent{client(0).last_rpc.ticket, std::string("1")});
  EXPECT_EQ(rpc_outputs_.size(), 0u);

  orchestrator_->handle(RpcMessage{8, "ping", "{}", {0}, TimePoint::max()});
  die(0);
  const auto dead = answer<RpcAnswer>();
  EXPECT_TRUE(dead.status.ok());
  EXPECT_THAT(dead.results[0].status.message(), HasSubstr("Signal 9"));
  orchestrator_->handle(RpcMessage{9, "ping", "{}", {0}, TimePoint::max()});
  EXPECT_EQ(answer<RpcAnswer>().results[0].status.code(), StatusCode::kUnavailable);
  orchestrator_->handle(RpcMessage{10, "ping", "{}", {3}, TimePoint::max()});
  EXPECT_THAT(answer<RpcAnswer>().status.message(), HasSubstr("0 (thinker), 1 (talker)"));
}

TEST_F(OrchestratorTest, ShutdownAnswersEveryCall) {
  start(true);
  add(1, {0});
  orchestrator_->handle(AbortMessage{{RequestKey(1)}, 1});
  orchestrator_->handle(RpcMessage{2, "ping", "{}", {}, TimePoint::max()});
  orchestrator_->handle(ReplicaMessage{3, 0, {}});
  requests_.close();
  orchestrator_->handle(ShutdownMessage{});
  EXPECT_THAT(said(), ElementsAre("r1/0:!"));
  EXPECT_EQ(rpc_outputs_.size(), 3u);
}

}  // namespace
}  // namespace tutti
