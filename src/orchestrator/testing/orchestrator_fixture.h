// OrchestratorTest: the state machine with replicas that only write down what they are told.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "orchestrator/orchestrator.h"
#include "stages/testing/fake_stage_engine.h"

namespace tutti {

// Writes down what the replica is told, as "submit 1: 5 6, complete".
class RecordingClient final : public StageClient {
 public:
  explicit RecordingClient(std::vector<std::string>& log) : log_(log) {}

  bool try_send(StageCommand& command) override {
    if (std::exchange(throws, false)) throw std::runtime_error("the wire broke");
    if (full) return false;
    if (const auto* submit = std::get_if<SubmitCommand>(&command)) {
      log_.push_back("submit" + ids(submit->chunks) + (submit->complete ? " complete" : ""));
      last_request = *submit->request;
    } else if (const auto* chunk = std::get_if<ChunkCommand>(&command)) {
      std::vector<UpstreamChunk> one{chunk->chunk};
      log_.push_back("chunk" + ids(one) + (chunk->complete ? " complete" : ""));
    } else if (const auto* segment = std::get_if<SegmentCommand>(&command)) {
      log_.push_back("segment " + std::to_string(segment->segment.segment) +
                     (segment->segment.input.resumable ? "" : " last"));
    } else if (std::holds_alternative<AbortCommand>(command)) {
      log_.push_back("abort");
    } else {
      last_rpc = std::get<RpcCommand>(command);
      log_.push_back("rpc " + last_rpc.method);
    }
    return true;
  }
  EngineStats stats() const override { return {}; }
  void stop() override {}
  bool join(Deadline) override { return true; }

  bool full = false;
  bool throws = false;  // once
  StageRequest last_request;
  RpcCommand last_rpc;

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
  void start(bool async_chunk, std::vector<StageSpec> specs = fake::omni_specs(),
             int32_t replicas = 1) {
    graph_ = std::make_shared<const StageGraph>(StageGraph::build(std::move(specs)).value());
    log_.resize(static_cast<size_t>(graph_->size()));
    for (int32_t s = 0; s < graph_->size(); ++s) {
      const auto factory = [this, s](ReplicaId, uint32_t) {
        return std::make_unique<RecordingClient>(log_[s]);
      };
      pools_.push_back(std::make_unique<StagePool>(factory, replicas, pool_options_));
    }
    options_.async_chunk = async_chunk;
    options_.epoch = clock_.now();
    orchestrator_ = std::make_unique<Orchestrator>(
        graph_, pools_, OrchestratorQueues{requests_, outputs_, rpc_outputs_}, clock_, options_);
    for (int32_t s = 0; s < graph_->size(); ++s) {
      for (int32_t r = 0; r < replicas; ++r) tell(s, ReadyEvent{}, r);
    }
  }
  RecordingClient& client(int32_t stage, int32_t replica = 0) {
    return static_cast<RecordingClient&>(*pools_[stage]->replica(ReplicaId(replica)).client());
  }
  std::unique_ptr<AcceptedRequest> request(uint64_t key, std::vector<int32_t> wanted) {
    auto request = std::make_unique<AcceptedRequest>();
    request->key = RequestKey(key);
    request->request_id = "r" + std::to_string(key);
    request->segment = segment(key, 0);
    request->segment.input.voice = "Ana";
    request->final_output_stage_ids = std::move(wanted);
    request->priority = 3;
    return request;
  }
  // max_tokens of every stage; none: as many as the stage likes.
  RequestSegment segment(uint64_t key, int32_t index, bool last = true,
                         std::optional<int32_t> max_tokens = {}) {
    RequestSegment segment;
    segment.sampling_params.resize(static_cast<size_t>(graph_->size()));
    for (auto& params : segment.sampling_params) params.max_tokens = max_tokens;
    for (int32_t s = 0; s < graph_->size(); ++s) {
      segment.seeds.push_back(100 * key + s + 1000 * static_cast<uint64_t>(index));
    }
    segment.last = last;
    return segment;
  }
  void add(std::unique_ptr<AcceptedRequest> request) {
    ASSERT_EQ(requests_.try_push(std::move(request)), QueueResult::kOk);
    orchestrator_->handle(RequestsReadyMessage{});
  }
  void add(uint64_t key, std::vector<int32_t> wanted) { add(request(key, std::move(wanted))); }
  void update(uint64_t key, RequestSegment segment) {
    orchestrator_->handle(UpdateMessage{RequestKey(key), std::move(segment)});
  }
  // The replica's present life says it.
  void tell(int32_t stage, auto body, int32_t replica = 0) {
    const uint32_t incarnation = pools_[stage]->replica(ReplicaId(replica)).incarnation();
    orchestrator_->handle(
        StageEvent{StageId(stage), ReplicaId(replica), std::move(body), incarnation});
  }
  void acknowledge(int32_t stage, uint64_t key, StageOutput held = {}, int32_t replica = 0) {
    tell(stage, AbortedEvent{RequestKey(key), std::move(held)}, replica);
  }
  void die(int32_t stage, int32_t replica = 0) {
    tell(stage, DiedEvent{internal_error("Signal 9.")}, replica);
  }
  // Goes on to the next time that something is due; false when there is none.
  bool pass_time() {
    const auto due = orchestrator_->next_timer();
    if (!due) return false;
    clock_.advance(std::max(*due - clock_.now(), Duration()));
    orchestrator_->handle(TimerMessage{});
    return true;
  }
  template <typename Answer>
  Answer answer() {
    auto output = rpc_outputs_.try_pop();
    if (!output || !std::holds_alternative<Answer>(*output)) {
      throw std::runtime_error("another answer, or none");
    }
    return std::get<Answer>(std::move(*output));
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
  // Ends a segment, but not the sequence.
  static StageOutput segment_end(uint64_t key, std::vector<int32_t> ids) {
    StageOutput end = output(key, std::move(ids), true);
    end.finished = false;
    end.segment_finished = true;
    return end;
  }
  void put_out(int32_t stage, StageOutput one, int32_t replica = 0) {
    OutputsEvent event;
    event.outputs.push_back(std::move(one));
    tell(stage, std::move(event), replica);
  }
  // "r1/0: 5 6!" for an output, "r1/0.2: 5" for one of segment 2, "r1 metrics 1", "r1 error"; !
  // marks the terminal one.
  std::vector<std::string> said() {
    std::vector<std::string> out;
    while (auto message = outputs_.try_pop()) {
      if (const auto* m = std::get_if<OutputMessage>(&*message)) {
        std::string text = m->request_id + "/" + std::to_string(m->stage_id);
        if (m->segment > 0) text += "." + std::to_string(m->segment);
        text += ":";
        for (int32_t id : m->output.token_ids) text += " " + std::to_string(id);
        out.push_back(text + (m->finished ? "!" : ""));
        last_output_ = *m;
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
  PoolOptions pool_options_;  // before start()
  OrchestratorOptions options_{.max_live_requests = 4};
  std::unique_ptr<Orchestrator> orchestrator_;
  Status last_error_;
  OutputMessage last_output_;
};

}  // namespace tutti
