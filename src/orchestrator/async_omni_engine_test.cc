// AsyncOmniEngine over fake stages: attributes, the way of a request, queues.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <thread>

#include "orchestrator/testing/engine_fixture.h"

namespace tutti::fake {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using AsyncOmniEngineTest = EngineFixture;

TEST_F(AsyncOmniEngineTest, HasTheAttributesOfTheContract) {
  start();
  EXPECT_EQ(engine_->model(), "fake");
  EXPECT_EQ(engine_->num_stages(), 3);
  EXPECT_TRUE(engine_->async_chunk());
  EXPECT_EQ(engine_->default_sampling_params_list().size(), 3u);
  EXPECT_THAT(engine_->voices(), ElementsAre("Ana", "Ben"));
  EXPECT_THAT(engine_->supported_tasks(), ElementsAre("generate", "speech"));
  EXPECT_EQ(engine_->diffusion_batch_size(), 1);
  EXPECT_FALSE(engine_->single_stage_mode());
  EXPECT_THAT(engine_->input_processor()->prompt_token_ids(TextPrompt{"ab"}).value(),
              ElementsAre('a', 'b'));
  ASSERT_EQ(engine_->stage_pools().size(), 3u);
  EXPECT_EQ(engine_->stage_pools()[1].replicas[0].state, "ready");
  EXPECT_EQ(engine_->stage_clients()[2].replica_id, 0);
  EXPECT_EQ(engine_->stage_metadata()[1].model_stage, "talker");
  EXPECT_EQ(engine_->get_stage_metadata(2).value().final_output_type, "audio");
  EXPECT_THAT(engine_->get_stage_metadata(-1).error().message(), HasSubstr("0 to 2"));
  EXPECT_FALSE(engine_->get_stage_metadata(3));
  EXPECT_EQ(engine_->queues()[0].name, "request_queue");
  EXPECT_EQ(engine_->queues()[1].capacity, 4096);
  EXPECT_TRUE(engine_->is_alive());
  char name[16] = {};
  pthread_getname_np(engine_->orchestrator_thread(), name, sizeof name);
  EXPECT_STREQ(name, "orchestrator");
}

TEST_F(AsyncOmniEngineTest, ItsAttributesFollowFromThePipelineAndTheOptions) {
  StageSpec denoiser = fake_spec("denoiser", {}, "image");
  denoiser.type = StageType::kDiffusion;
  EngineParts parts = fake_parts({denoiser, fake_spec("vae", {0})});
  parts.tokenizer = "/some/tokenizer";
  EngineOptions options;
  options.max_num_seqs = 5;
  options.stages.resize(1);
  options.stages[0].max_num_seqs = 7;
  start_parts(std::move(parts), options);
  EXPECT_EQ(engine_->tokenizer(), "/some/tokenizer");
  EXPECT_EQ(engine_->stats().max_live_requests, 20) << "four times max_num_seqs";
  EXPECT_EQ(engine_->diffusion_batch_size(), 7);
  EXPECT_EQ(engine_->input_processor(), nullptr) << "stage 0 takes raw prompts";
  EXPECT_THAT(engine_->supported_tasks(), ElementsAre("image"));
}

TEST_F(AsyncOmniEngineTest, SingleStageModeIsOneStageHereAndTheOthersElsewhere) {
  EngineParts parts = fake_parts(omni_specs());
  EXPECT_FALSE(runs_one_stage(parts));
  parts.stages[0].worker.emplace();
  EXPECT_FALSE(runs_one_stage(parts));
  parts.stages[2].worker.emplace();
  EXPECT_TRUE(runs_one_stage(parts));
  parts.stages[1].worker.emplace();
  EXPECT_FALSE(runs_one_stage(parts)) << "none is left here";
  EXPECT_FALSE(runs_one_stage(fake_parts({fake_spec("alone", {}, "text")})));
}

TEST_F(AsyncOmniEngineTest, RunsARequestThroughAllStages) {
  for (const bool async_chunk : {true, false}) {
    seen_.clear();
    EngineOptions options;
    options.async_chunk = async_chunk;
    start({}, options);
    ASSERT_TRUE(engine_->add_request(request("a", 9)).ok());
    const Seen& seen = read_until_end("a");
    const auto graph = StageGraph::build(omni_specs()).value();
    EXPECT_EQ(seen.tokens.at(0), expected_tokens(graph, 0, RequestKey(1), 9));
    EXPECT_EQ(seen.tokens.at(2), expected_tokens(graph, 2, RequestKey(1), 9));
    EXPECT_THAT(seen.metrics_of, ElementsAre(1));
    EXPECT_EQ(seen.finish_reason, FinishReason::kStop);
  }
}

TEST_F(AsyncOmniEngineTest, StagesNobodyAskedForNeverRun) {
  start();
  ASSERT_TRUE(engine_->add_request(request("a", 5, {0})).ok());
  const Seen& seen = read_until_end("a");
  EXPECT_EQ(seen.tokens.at(0).size(), 5u);
  EXPECT_GT(engine_->stage_pools()[0].replicas[0].steps, 0);
  EXPECT_EQ(engine_->stage_pools()[1].replicas[0].steps, 0);
  EXPECT_EQ(engine_->stage_pools()[2].replicas[0].steps, 0);
}

TEST_F(AsyncOmniEngineTest, OutputOfALaterStageAloneIsGivenAlone) {
  start();
  ASSERT_TRUE(engine_->add_request(request("a", 5, {2, 2})).ok());
  const Seen& seen = read_until_end("a");
  EXPECT_EQ(seen.tokens.count(0), 0u);
  EXPECT_EQ(seen.tokens.at(2).size(), 5u);
}

TEST_F(AsyncOmniEngineTest, ALiveIdIsRefusedAndFreeAfterItsTerminalMessage) {
  start();
  ASSERT_TRUE(engine_->add_request(request("a", 3)).ok());
  EXPECT_EQ(engine_->add_request(request("a", 3)).code(), StatusCode::kAlreadyExists);
  read_until_end("a");
  EXPECT_TRUE(engine_->add_request(request("a", 3)).ok());
}

TEST_F(AsyncOmniEngineTest, AFullRequestQueueAnswersAtOnceOrWaitsAsLongAsAsked) {
  const auto gate = std::make_shared<Gate>();
  EngineOptions options;
  options.request_queue_size = 2;
  options.max_num_seqs = 1;  // 16 live requests
  start({gated(gate)}, options);
  Status status;
  int accepted = 0;
  while (status.ok() && accepted < 100) {
    status = engine_->add_request(request("r" + std::to_string(accepted), 1));
    if (status.ok()) {
      ++accepted;
      continue;
    }
    // The orchestrator may still be taking requests over; what is asked for is the steady state.
    AddRequest again = request("r" + std::to_string(accepted), 1);
    again.queue_timeout_s = 0.05;
    status = engine_->add_request(again);
    accepted += status.ok();
  }
  EXPECT_EQ(accepted, 18);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_GT(status.retry_after_s(), 0);
  // Aborting one that still waits in the queue makes room.
  ASSERT_TRUE(engine_->abort({"r17"}).ok());
  EXPECT_EQ(read_until_end("r17").finish_reason, FinishReason::kAbort);
  AddRequest patient = request("patient", 1);
  patient.queue_timeout_s = 30;
  EXPECT_TRUE(engine_->add_request(patient).ok());
  gate->open();
  for (int i = 0; i < 17; ++i) read_until_end("r" + std::to_string(i));
  EXPECT_EQ(read_until_end("patient").finish_reason, FinishReason::kStop);
}

TEST_F(AsyncOmniEngineTest, ASlowReaderStopsNobodyAndLosesNothing) {
  EngineOptions options;
  options.output_queue_size = 1;
  start({}, options);
  const auto graph = StageGraph::build(omni_specs()).value();
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(engine_->add_request(request("r" + std::to_string(i), 20)).ok());
  }
  // Everything is computed although nobody reads.
  while (engine_->stage_pools()[2].replicas[0].outstanding > 0 ||
         engine_->stage_pools()[2].replicas[0].steps == 0) {
    std::this_thread::yield();
  }
  for (int i = 0; i < 8; ++i) {
    const Seen& seen = read_until_end("r" + std::to_string(i));
    EXPECT_EQ(seen.tokens.at(0), expected_tokens(graph, 0, RequestKey(i + 1), 20));
    EXPECT_EQ(seen.tokens.at(2), expected_tokens(graph, 2, RequestKey(i + 1), 20));
  }
  EXPECT_LE(engine_->queues()[1].high_water, 1);
}

TEST_F(AsyncOmniEngineTest, ManyCallersGetTheirOwnTokens) {
  start();
  const auto graph = StageGraph::build(omni_specs()).value();
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&, c] {
      for (int i = 0; i < 10; ++i) {
        AddRequest mine = request("c" + std::to_string(c) + "-" + std::to_string(i), 7);
        mine.queue_timeout_s = 30;
        ASSERT_TRUE(engine_->add_request(std::move(mine)).ok());
      }
    });
  }
  for (int c = 0; c < 4; ++c) {
    for (int i = 0; i < 10; ++i) {
      const Seen& seen = read_until_end("c" + std::to_string(c) + "-" + std::to_string(i));
      EXPECT_EQ(seen.tokens.at(0).size(), 7u);
      EXPECT_EQ(seen.tokens.at(2).size(), 7u);
    }
  }
  for (auto& caller : callers) caller.join();
}

}  // namespace
}  // namespace tutti::fake
