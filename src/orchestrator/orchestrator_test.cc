// The state machine, message by message; the simulator in tests/sim/ tries what nobody thinks of.
#include "orchestrator/orchestrator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "stages/testing/fake_stage_engine.h"

namespace tutti {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Writes down what the replica is told, as "submit 1: 5 6, complete".
class RecordingClient final : public StageClient {
 public:
  explicit RecordingClient(std::vector<std::string>& log) : log_(log) {}

  bool try_send(StageCommand& command) override {
    if (full) return false;
    if (const auto* submit = std::get_if<SubmitCommand>(&command)) {
      log_.push_back("submit" + ids(submit->chunks) + (submit->complete ? " complete" : ""));
      last_request = *submit->request;
    } else if (const auto* chunk = std::get_if<ChunkCommand>(&command)) {
      std::vector<UpstreamChunk> one{chunk->chunk};
      log_.push_back("chunk" + ids(one) + (chunk->complete ? " complete" : ""));
    } else if (std::holds_alternative<AbortCommand>(command)) {
      log_.push_back("abort");
    }
    return true;
  }
  EngineStats stats() const override { return {}; }
  void stop() override {}
  bool join(Deadline) override { return true; }

  bool full = false;
  StageRequest last_request;

 private:
  static std::string ids(const std::vector<UpstreamChunk>& chunks) {
    std::string out;
    for (const UpstreamChunk& chunk : chunks) {
      for (int32_t id : chunk.payload.token_ids) out += " " + std::to_string(id);
    }
    return out;
  }
  std::vector<std::string>& log_;
};

class OrchestratorTest : public testing::Test {
 protected:
  void start(bool async_chunk, std::vector<StageSpec> specs = fake::omni_specs()) {
    graph_ = std::make_shared<const StageGraph>(StageGraph::build(std::move(specs)).value());
    log_.resize(static_cast<size_t>(graph_->size()));
    for (int32_t s = 0; s < graph_->size(); ++s) {
      std::vector<std::unique_ptr<StageClient>> clients;
      clients.push_back(std::make_unique<RecordingClient>(log_[s]));
      pools_.push_back(std::make_unique<StagePool>(std::move(clients)));
    }
    orchestrator_ = std::make_unique<Orchestrator>(
        graph_, pools_, OrchestratorQueues{requests_, outputs_, rpc_outputs_}, clock_,
        OrchestratorOptions{.async_chunk = async_chunk,
                            .max_live_requests = 4,
                            .epoch = clock_.now(),
                            .on_replica_state = {}});
    for (int32_t s = 0; s < graph_->size(); ++s) tell(s, ReadyEvent{});
  }
  RecordingClient& client(int32_t stage) {
    return static_cast<RecordingClient&>(pools_[stage]->replica(ReplicaId(0)).client());
  }
  void add(uint64_t key, std::vector<int32_t> wanted) {
    auto request = std::make_unique<AcceptedRequest>();
    request->key = RequestKey(key);
    request->request_id = "r" + std::to_string(key);
    request->segment.input.voice = "Ana";
    request->segment.sampling_params.resize(static_cast<size_t>(graph_->size()));
    for (int32_t s = 0; s < graph_->size(); ++s) request->segment.seeds.push_back(100 * key + s);
    request->final_output_stage_ids = std::move(wanted);
    request->priority = 3;
    ASSERT_EQ(requests_.try_push(std::move(request)), QueueResult::kOk);
    orchestrator_->handle(RequestsReadyMessage{});
  }
  void tell(int32_t stage, auto body) {
    orchestrator_->handle(StageEvent{StageId(stage), ReplicaId(0), std::move(body)});
  }
  static StageOutput output(uint64_t key, std::vector<int32_t> ids, bool finished = false) {
    StageOutput output;
    output.key = RequestKey(key);
    output.payload.token_ids = ids;
    output.delta.token_ids = std::move(ids);
    output.finished = finished;
    if (finished) output.delta.finish_reason = FinishReason::kStop;
    return output;
  }
  void put_out(int32_t stage, StageOutput one) {
    OutputsEvent event;
    event.outputs.push_back(std::move(one));
    tell(stage, std::move(event));
  }
  // "r1/0: 5 6!" for an output, "r1 metrics 1", "r1 error"; ! marks the terminal one.
  std::vector<std::string> said() {
    std::vector<std::string> out;
    while (auto message = outputs_.try_pop()) {
      if (const auto* m = std::get_if<OutputMessage>(&*message)) {
        std::string text = m->request_id + "/" + std::to_string(m->stage_id) + ":";
        for (int32_t id : m->output.token_ids) text += " " + std::to_string(id);
        out.push_back(text + (m->finished ? "!" : ""));
      } else if (const auto* s = std::get_if<StageMetricsMessage>(&*message)) {
        out.push_back(s->request_id + " metrics " + std::to_string(s->stage_id));
      } else {
        last_error_ = std::get<ErrorMessage>(*message).error;
        out.push_back(std::get<ErrorMessage>(*message).request_id + " error");
      }
    }
    return out;
  }

  FakeClock clock_;
  RequestQueue requests_{16};
  OutputQueue outputs_{64};
  RpcOutputQueue rpc_outputs_{4};
  std::shared_ptr<const StageGraph> graph_;
  std::vector<std::vector<std::string>> log_;
  StagePools pools_;
  std::unique_ptr<Orchestrator> orchestrator_;
  Status last_error_;
};

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
  add(3, {2});
  put_out(0, output(3, {5}));
  EXPECT_THAT(said(), ElementsAre("r3 error"));
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

}  // namespace
}  // namespace tutti
