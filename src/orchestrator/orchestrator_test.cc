// The state machine, message by message; the simulator in tests/sim/ tries what nobody thinks of.
// Here: the data path and admission.
#include "orchestrator/testing/orchestrator_fixture.h"

namespace tutti {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(OrchestratorTest, AsyncChunkSubmitsWithTheFirstPayload) {
  start(true);
  add(1, {0, 2});
  put_out(0, output(1, {5}));
  EXPECT_THAT(log_[1], ElementsAre("submit 5"));
  put_out(0, output(1, {6}));
  put_out(0, output(1, {7}, true));
  EXPECT_THAT(log_[1], ElementsAre("submit 5", "chunk 6", "chunk 7 complete"));
  put_out(1, output(1, {8}, true));
  EXPECT_THAT(log_[2], ElementsAre("submit 8 complete"));
  put_out(2, output(1, {9}, true));
  EXPECT_THAT(said(), ElementsAre("r1/0: 5", "r1/0: 6", "r1/0: 7", "r1 metrics 1", "r1/2: 9!"));
  EXPECT_EQ(orchestrator_->live_requests(), 0u);
}

TEST_F(OrchestratorTest, WithoutAsyncChunkWholeResultsAreHandedOver) {
  start(false);
  add(1, {0, 2});
  put_out(0, output(1, {5}));
  put_out(0, output(1, {6}));
  EXPECT_TRUE(log_[1].empty());
  put_out(0, output(1, {7}, true));
  EXPECT_THAT(log_[1], ElementsAre("submit 5 6 7 complete"));
  EXPECT_TRUE(client(0).last_request.streams_payload) << "the caller sees its deltas";
  EXPECT_FALSE(client(1).last_request.streams_payload);
}

TEST_F(OrchestratorTest, WhatBelongsToTheRequestTravelsThroughAllStages) {
  start(true);
  add(1, {0, 2});
  put_out(0, output(1, {5}));
  put_out(1, output(1, {6}));
  for (int32_t s = 0; s < 3; ++s) {
    const StageRequest& request = client(s).last_request;
    EXPECT_EQ(request.request_id, "r1");
    EXPECT_EQ(request.priority, 3);
    EXPECT_EQ(request.seed, 100u + static_cast<uint64_t>(s));
    EXPECT_EQ(request.input.voice, "Ana");
    EXPECT_EQ(request.wants_payload, s < 2);
  }
}

TEST_F(OrchestratorTest, ReadersWhoAreBehindKeepRequestsInTheQueue) {
  options_.max_live_requests = 2;
  start(true, {fake::fake_spec("alone", {}, "text")});
  for (uint64_t key = 1; key <= 64; ++key) {  // fills the output queue
    add(key, {0});
    put_out(0, output(key, {1}, true));
  }
  EXPECT_EQ(orchestrator_->waiting_outputs(), 0u);
  for (uint64_t key = 65; key <= 68; ++key) add(key, {0});
  put_out(0, output(65, {1}, true));
  put_out(0, output(66, {1}, true));
  EXPECT_EQ(orchestrator_->waiting_outputs(), 2u);
  EXPECT_EQ(requests_.size(), 1u) << "the outputs of two requests wait for a reader";
  EXPECT_EQ(orchestrator_->live_requests(), 1u);
  EXPECT_TRUE(outputs_.try_pop());
  orchestrator_->handle(OutputRoomMessage{});
  EXPECT_EQ(requests_.size(), 0u);
}

TEST_F(OrchestratorTest, AStageWithSeveralSourcesIsCompleteWithTheLast) {
  start(true,
        {fake::fake_spec("a", {}), fake::fake_spec("b", {}), fake::fake_spec("c", {0, 1}, "text")});
  add(1, {2});
  put_out(1, output(1, {7}, true));
  EXPECT_THAT(log_[2], ElementsAre("submit 7"));
  put_out(0, output(1, {5}));
  put_out(0, output(1, {}, true));
  EXPECT_THAT(log_[2], ElementsAre("submit 7", "chunk 5", "chunk complete"));
}

TEST_F(OrchestratorTest, AnUpstreamWithoutPayloadStillStartsItsConsumerAtItsEnd) {
  start(true);
  add(1, {2});
  put_out(0, output(1, {}));
  EXPECT_TRUE(log_[1].empty());
  put_out(0, output(1, {}, true));
  EXPECT_THAT(log_[1], ElementsAre("submit complete"));
}

TEST_F(OrchestratorTest, AnErrorEndsTheRequestInTheOtherStages) {
  start(true);
  add(1, {0, 2});
  put_out(0, output(1, {5}));
  StageOutput failed = output(1, {}, true);
  failed.error = internal_error("The talker broke.");
  put_out(1, std::move(failed));
  EXPECT_THAT(log_[0], ElementsAre("submit complete", "abort"));
  EXPECT_THAT(log_[1], ElementsAre("submit 5"));
  EXPECT_THAT(said(), ElementsAre("r1/0: 5", "r1 error"));
  // Late outputs of the ended request are nobody's.
  put_out(0, output(1, {6}));
  EXPECT_THAT(said(), ElementsAre());
  EXPECT_EQ(orchestrator_->live_requests(), 1u) << "stage 0 has not let go";
  tell(0, AbortedEvent{RequestKey(1), {}});
  EXPECT_EQ(orchestrator_->live_requests(), 0u);
}

TEST_F(OrchestratorTest, AFinishedSourceIsAbortedWhenNobodyWaitsForIt) {
  start(true);
  add(1, {2});
  put_out(0, output(1, {5}));
  put_out(1, output(1, {6}));
  put_out(2, output(1, {7}, true));
  EXPECT_THAT(said(), ElementsAre("r1/2: 7!"));
  EXPECT_EQ(log_[0].back(), "abort");
  EXPECT_EQ(log_[1].back(), "abort");
}

TEST_F(OrchestratorTest, ADeadReplicaFailsWhatIsBoundToIt) {
  start(true);
  add(1, {0});
  add(2, {0, 2});
  put_out(0, output(2, {5}));
  tell(1, DiedEvent{internal_error("Signal 9.")});
  EXPECT_THAT(said(), ElementsAre("r2/0: 5", "r2 error"));
  EXPECT_THAT(last_error_.message(), HasSubstr("stage 1 (talker)"));
  EXPECT_EQ(last_error_.code(), StatusCode::kUnavailable);
  put_out(0, output(1, {5}, true));
  EXPECT_THAT(said(), ElementsAre("r1/0: 5!"));
}

TEST_F(OrchestratorTest, CommandsKeepTheirOrderBehindAFullMailbox) {
  start(true);
  add(1, {0, 2});
  client(1).full = true;
  put_out(0, output(1, {5}));
  put_out(0, output(1, {6}));
  client(1).full = false;
  put_out(0, output(1, {7}));
  EXPECT_TRUE(log_[1].empty()) << "nothing overtakes what waits";
  tell(1, RoomEvent{});
  EXPECT_THAT(log_[1], ElementsAre("submit 5", "chunk 6", "chunk 7"));
}

TEST_F(OrchestratorTest, RequestsBeyondTheLimitStayInTheQueueAndCanBeAbortedThere) {
  start(true);
  for (uint64_t key = 1; key <= 6; ++key) add(key, {0});
  EXPECT_EQ(orchestrator_->live_requests(), 4u);
  EXPECT_EQ(requests_.size(), 2u);
  orchestrator_->handle(AbortMessage{{RequestKey(5)}});
  EXPECT_THAT(said(), ElementsAre("r5/0:!"));
  put_out(0, output(2, {1}, true));
  EXPECT_EQ(requests_.size(), 0u);
  EXPECT_NE(orchestrator_->find(RequestKey(6)), nullptr);
}

TEST_F(OrchestratorTest, ShutdownEndsLiveAndWaitingRequestsOnce) {
  start(true);
  for (uint64_t key = 1; key <= 5; ++key) add(key, {0, 2});
  requests_.close();
  orchestrator_->handle(ShutdownMessage{});
  EXPECT_TRUE(orchestrator_->stopped());
  EXPECT_THAT(said(), ElementsAre("r1/0:!", "r2/0:!", "r3/0:!", "r4/0:!", "r5/0:!"));
  orchestrator_->handle(ShutdownMessage{});
  EXPECT_THAT(said(), ElementsAre());
}

TEST_F(OrchestratorTest, SubmitTimesComeFromTheClock) {
  start(true);
  clock_.advance(std::chrono::seconds(5));
  add(1, {0});
  put_out(0, output(1, {1}, true));
  const auto message = std::get<OutputMessage>(*outputs_.try_pop());
  EXPECT_DOUBLE_EQ(message.stage_submit_ts, 5.0);
}

TEST_F(OrchestratorTest, RequestsStartByPriorityThenByArrival) {
  options_.max_live_requests = 1;
  start(true);
  add(1, {0});
  for (const auto& [key, priority] : {std::pair(2, 5), {3, 1}, {4, 1}}) {
    auto waiting = request(static_cast<uint64_t>(key), {0});
    waiting->priority = priority;
    add(std::move(waiting));
  }
  std::vector<uint64_t> order;
  for (int i = 0; i < 4; ++i) {
    for (uint64_t key = 1; key <= 4; ++key) {
      if (!orchestrator_->find(RequestKey(key))) continue;
      order.push_back(key);
      put_out(0, output(key, {1}, true));
      break;
    }
  }
  EXPECT_THAT(order, ElementsAre(1, 3, 4, 2));
}

TEST_F(OrchestratorTest, ARequestEndsAtItsDeadlineWhereverItIs) {
  options_.max_live_requests = 1;
  start(true);
  EXPECT_EQ(orchestrator_->next_timer(), std::nullopt) << "an idle engine waits for nothing";
  for (uint64_t key = 1; key <= 2; ++key) {
    auto limited = request(key, {0});
    limited->deadline = clock_.now() + std::chrono::seconds(3 - key);
    add(std::move(limited));
  }
  ASSERT_TRUE(pass_time()) << "the waiting one's comes first";
  EXPECT_THAT(said(), ElementsAre("r2 error"));
  EXPECT_EQ(last_error_.code(), StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(pass_time());
  EXPECT_THAT(said(), ElementsAre("r1 error"));
  EXPECT_EQ(log_[0].back(), "abort");
  acknowledge(0, 1);
  EXPECT_EQ(orchestrator_->next_timer(), std::nullopt);
}

TEST_F(OrchestratorTest, ADeadlineThatJoinsAWaitingQueueIsSeen) {
  options_.max_live_requests = 1;
  start(true);
  int calls = 0;
  requests_.on_ready([&] { ++calls; });
  add(1, {0});
  add(2, {0});
  const int before = calls;
  auto limited = request(3, {0});
  limited->deadline = clock_.now() + std::chrono::seconds(1);
  ASSERT_EQ(requests_.try_push(std::move(limited)), QueueResult::kOk);
  EXPECT_EQ(calls, before + 1) << "the loop is told although the queue was not empty";
}

TEST_F(OrchestratorTest, AudioEndsAtItsLimitAndTextGoesOn) {
  options_.max_audio_s = 0.5;
  start(true);
  add(1, {0, 2});
  put_out(0, output(1, {5}));
  put_out(1, output(1, {6}));
  StageOutput sound = output(1, {7});
  sound.delta.audio = {std::vector<float>(80, 0.5f), 100};
  put_out(2, std::move(sound));
  EXPECT_THAT(said(), ElementsAre("r1/0: 5", "r1/2: 7"));
  EXPECT_EQ(last_output_.output.audio.samples.size(), 50u);
  EXPECT_EQ(last_output_.output.finish_reason, FinishReason::kLength);
  EXPECT_DOUBLE_EQ(last_output_.metrics.audio_s, 0.5);
  EXPECT_EQ(log_[2].back(), "abort");
  EXPECT_EQ(log_[1].back(), "abort") << "it works for nobody else";
  EXPECT_EQ(log_[0].back(), "submit complete");
  put_out(0, output(1, {8}, true));
  EXPECT_THAT(said(), ElementsAre("r1/0: 8!"));
  acknowledge(1, 1);
  EXPECT_EQ(orchestrator_->live_requests(), 1u);
  acknowledge(2, 1);
  EXPECT_EQ(orchestrator_->live_requests(), 0u);
}

TEST_F(OrchestratorTest, PlaybackIsMeasuredPerRequest) {
  start(true, {fake::fake_spec("voice", {}, "audio")});
  add(1, {0});
  for (const int wait_ms : {1000, 1500, 200}) {
    clock_.advance(std::chrono::milliseconds(wait_ms));
    StageOutput sound = output(1, {7}, wait_ms == 200);
    sound.delta.audio = {std::vector<float>(100, 0.5f), 100};
    put_out(0, std::move(sound));
  }
  said();
  EXPECT_DOUBLE_EQ(last_output_.metrics.first_audio_s, 1);
  EXPECT_DOUBLE_EQ(last_output_.metrics.audio_s, 3);
  EXPECT_DOUBLE_EQ(last_output_.metrics.underrun_s, 0.5);
}

TEST_F(OrchestratorTest, CompanionsGoWithTheirParent) {
  start(true, fake::omni_specs(), 2);
  add(1, {0});  // so that replica 0 is busier
  auto guided = request(2, {2});
  guided->companions.push_back({RequestKey(3), "negative", {}});
  add(std::move(guided));
  EXPECT_EQ(pools_[0]->replica(ReplicaId(1)).outstanding(), 2) << "both on one replica";
  EXPECT_EQ(client(0, 1).last_request.key, RequestKey(3));
  put_out(0, output(2, {5}, true), 1);
  EXPECT_THAT(log_[1], ElementsAre("submit 5")) << "not complete without the companion";
  put_out(0, output(3, {6}), 1);
  put_out(0, output(3, {7}, true), 1);
  EXPECT_THAT(log_[1], ElementsAre("submit 5", "chunk 6", "chunk 7 complete"));
  EXPECT_EQ(pools_[0]->replica(ReplicaId(1)).outstanding(), 0);
  EXPECT_THAT(said(), ElementsAre("r2 metrics 0")) << "a companion's deltas are nobody's";
}

TEST_F(OrchestratorTest, Guarantee1_OutputsInOrderAndOneTerminalMessage) {
  start(true);
  add(1, {0, 2});
  put_out(0, output(1, {1}));
  put_out(0, output(1, {2}, true));
  put_out(1, output(1, {3}, true));
  put_out(2, output(1, {4}));
  put_out(2, output(1, {5}, true));
  EXPECT_THAT(said(), ElementsAre("r1/0: 1", "r1/0: 2", "r1 metrics 1", "r1/2: 4", "r1/2: 5!"));
  put_out(2, output(1, {6}, true));
  orchestrator_->handle(AbortMessage{{RequestKey(1)}, 0});
  requests_.close();
  orchestrator_->handle(ShutdownMessage{});
  EXPECT_THAT(said(), ElementsAre());
}

TEST_F(OrchestratorTest, Guarantee2_NothingOfARequestReachesAnother) {
  start(true);
  for (uint64_t key = 1; key <= 2; ++key) {
    auto own = request(key, {0, 2});
    own->segment.input.voice = key == 1 ? "Ana" : "Ben";
    own->lora_name = key == 1 ? "" : "pirate";
    add(std::move(own));
    EXPECT_EQ(client(0).last_request.input.voice, key == 1 ? "Ana" : "Ben");
    EXPECT_EQ(client(0).last_request.lora_name, key == 1 ? "" : "pirate");
    EXPECT_EQ(client(0).last_request.seed, 100 * key);
  }
  put_out(0, output(2, {20}));
  put_out(0, output(1, {10}));
  EXPECT_THAT(log_[1], ElementsAre("submit 20", "submit 10"));
  EXPECT_THAT(said(), ElementsAre("r2/0: 20", "r1/0: 10"));
}

TEST_F(OrchestratorTest, Guarantee3_WhatAHandlerThrowsEndsOnlyItsRequest) {
  start(true);
  add(1, {0, 2});
  add(2, {0, 2});
  client(1).throws = true;
  put_out(0, output(1, {5}));
  EXPECT_THAT(said(), ElementsAre("r1 error"));
  EXPECT_THAT(last_error_.message(), HasSubstr("the wire broke"));
  put_out(0, output(2, {6}));
  EXPECT_THAT(said(), ElementsAre("r2/0: 6"));
  EXPECT_EQ(log_[1].back(), "submit 6");
}

TEST_F(OrchestratorTest, Guarantee6_ACompanionGroupIsAbortedAndFailsAsOne) {
  start(true);
  auto guided = request(1, {2});
  guided->companions.push_back({RequestKey(2), "negative", {}});
  add(std::move(guided));
  orchestrator_->handle(AbortMessage{{RequestKey(1)}, 0});
  EXPECT_THAT(log_[0], ElementsAre("submit complete", "submit complete", "abort", "abort"));
  acknowledge(0, 1);
  EXPECT_THAT(said(), ElementsAre());
  acknowledge(0, 2);
  EXPECT_THAT(said(), ElementsAre("r1/2:!"));

  guided = request(3, {2});
  guided->companions.push_back({RequestKey(4), "negative", {}});
  add(std::move(guided));
  StageOutput failed = output(4, {}, true);
  failed.error = internal_error("The negative prompt is too long.");
  put_out(0, std::move(failed));
  EXPECT_THAT(said(), ElementsAre("r3 error"));
  acknowledge(0, 3);
  EXPECT_EQ(orchestrator_->live_requests(), 0u);
  EXPECT_EQ(pools_[0]->replica(ReplicaId(0)).outstanding(), 0);
}

TEST_F(OrchestratorTest, Guarantee7_NothingIsLeftWhenTheLastRequestHasEnded) {
  start(true);
  for (uint64_t key = 1; key <= 3; ++key) {
    auto limited = request(key, {0, 2});
    limited->deadline = clock_.now() + std::chrono::hours(1);
    limited->segment.last = false;
    add(std::move(limited));
    put_out(0, output(key, {5}));
  }
  orchestrator_->handle(AbortMessage{{RequestKey(1), RequestKey(2), RequestKey(3)}, 7});
  for (uint64_t key = 1; key <= 3; ++key) {
    acknowledge(0, key);
    acknowledge(1, key);
  }
  EXPECT_EQ(answer<AbortAnswer>().results.size(), 3u);
  EXPECT_EQ(orchestrator_->live_requests(), 0u);
  EXPECT_EQ(orchestrator_->timers(), 0u);
  EXPECT_EQ(orchestrator_->open_calls(), 0u);
  EXPECT_EQ(orchestrator_->early_updates(), 0u);
  for (int32_t s = 0; s < 3; ++s) {
    EXPECT_EQ(pools_[s]->replica(ReplicaId(0)).outstanding(), 0);
    EXPECT_EQ(pools_[s]->replica(ReplicaId(0)).waiting_commands(), 0u);
  }
}

}  // namespace
}  // namespace tutti
