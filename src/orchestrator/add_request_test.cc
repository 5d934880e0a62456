// add_request: every argument of docs/api.md: what it does, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "orchestrator/input_processing.h"
#include "orchestrator/testing/engine_fixture.h"

namespace tutti::fake {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class AddRequestTest : public EngineFixture {
 protected:
  void start_recording(EngineOptions options = {}) {
    start({admitted_.options(), admitted_.options(), admitted_.options()}, std::move(options));
  }
  // What every stage was given of one request that ran to its end.
  std::vector<StageRequest> run(AddRequest request) {
    const std::string id = request.request_id;
    EXPECT_TRUE(engine_->add_request(std::move(request)).ok());
    read_until_end(id);
    std::vector<StageRequest> all;
    for (int32_t s = 0; s < 3; ++s) {
      if (!admitted_.of(s).empty()) all.push_back(admitted_.of(s).back());
    }
    return all;
  }
  Admitted admitted_;
};

TEST_F(AddRequestTest, WrongArgumentsAreErrorsAtTheCall) {
  start();
  expect_refused(request("", 1), "`request_id` is empty", "request_id");
  AddRequest wrong = request("a", 1);
  wrong.sampling_params_list.pop_back();
  expect_refused(wrong, "has 2 entries; this model has 3 stages", "sampling_params_list");
  wrong = request("a", 1);
  wrong.sampling_params_list[1].temperature = -1;
  expect_refused(wrong, "stage 1 (talker)", "temperature");
  wrong.sampling_params_list[1] = {};
  wrong.sampling_params_list[0].max_tokens = 0;
  expect_refused(wrong, "1 or larger", "max_tokens");
  wrong = request("a", 1);
  wrong.voice = "Zoe";
  expect_refused(wrong, "this model has: Ana, Ben", "");
  wrong = request("a", 1);
  wrong.prompt = TextPrompt{""};
  expect_refused(wrong, "prompt is empty", "");
  wrong.prompt = TextPrompt{std::string(101, 'x')};
  expect_refused(wrong, "has 101 tokens; the context holds 101", "prompt");
  wrong.prompt = TextPrompt{"throw"};
  expect_refused(wrong, "tokenizer broke", "");
  EXPECT_EQ(engine_->queues()[0].high_water, 0) << "nothing was enqueued";
  // None of the refused ids stayed taken.
  ASSERT_TRUE(engine_->add_request(request("a", 1)).ok());
  EXPECT_TRUE(read_until_end("a").error.ok());
  EXPECT_EQ(engine_->stats().accepted, 1);
}

TEST_F(AddRequestTest, PriorityVoiceAndReasoningEndedTravelThroughAllStages) {
  start_recording();
  AddRequest mine = request("a", 2);
  mine.priority = -7;
  mine.voice = "Ben";
  mine.reasoning_ended = true;
  const std::vector<StageRequest> stages = run(std::move(mine));
  ASSERT_EQ(stages.size(), 3u);
  for (const StageRequest& stage : stages) {
    EXPECT_EQ(stage.priority, -7);
    EXPECT_EQ(stage.input.voice, "Ben");
    EXPECT_EQ(stage.reasoning_ended, true);
    EXPECT_EQ(stage.request_id, "a");
  }
}

TEST_F(AddRequestTest, FinalOutputStageIdsChooseTheOutputs) {
  start();
  expect_refused(request("a", 1, {1}), "has 1; the stages with a final output are 0, 2",
                 "final_output_stage_ids");
  ASSERT_TRUE(engine_->add_request(request("a", 5, {2, 2})).ok());
  EXPECT_EQ(read_until_end("a").tokens.count(0), 0u);
  EXPECT_EQ(seen_["a"].tokens.at(2).size(), 5u);
}

TEST_F(AddRequestTest, FinalStageIdLeavesOutLaterOutputs) {
  start();
  AddRequest mine = request("a", 5);
  mine.final_stage_id = 1;
  ASSERT_TRUE(engine_->add_request(mine).ok());
  EXPECT_EQ(read_until_end("a").tokens.at(0).size(), 5u);
  EXPECT_EQ(seen_["a"].tokens.count(2), 0u);
  EXPECT_EQ(engine_->stage_pools()[2].replicas[0].steps, 0) << "it never ran";
  AddRequest wrong = request("b", 1, {2});
  wrong.final_stage_id = 1;
  expect_refused(wrong, "so nothing is left", "final_stage_id");
  wrong.final_stage_id = 3;
  expect_refused(wrong, "the stages 0 to 2", "final_stage_id");
  wrong.final_stage_id = -1;
  expect_refused(wrong, "the stages 0 to 2", "final_stage_id");
}

TEST_F(AddRequestTest, DataParallelRankChoosesTheReplica) {
  EngineParts parts = fake_parts(omni_specs());
  for (StageParts& stage : parts.stages) stage.num_replicas = 2;
  start_parts(std::move(parts));
  for (int i = 0; i < 3; ++i) {
    AddRequest mine = request("r" + std::to_string(i), 3);
    mine.data_parallel_rank = 1;
    ASSERT_TRUE(engine_->add_request(std::move(mine)).ok());
    read_until_end("r" + std::to_string(i));
  }
  for (const StagePoolInfo& pool : engine_->stage_pools()) {
    EXPECT_EQ(pool.replicas[0].steps, 0) << pool.stage_id;
    EXPECT_GT(pool.replicas[1].steps, 0) << pool.stage_id;
  }
  AddRequest wrong = request("a", 1);
  wrong.data_parallel_rank = 2;
  expect_refused(wrong, "is 2; stage 0 (thinker) has: 0, 1", "data_parallel_rank");
  wrong.data_parallel_rank = -1;
  expect_refused(wrong, "is -1", "data_parallel_rank");
}

TEST_F(AddRequestTest, TokenizationKwargsTruncateFromTheLeft) {
  start_recording();
  AddRequest mine = request("a", 1, {0});
  mine.prompt = TextPrompt{"abcdef"};
  mine.tokenization_kwargs_json = R"({"truncate_prompt_tokens": 2, "add_special_tokens": false})";
  EXPECT_THAT(run(mine)[0].input.payload.token_ids, ElementsAre('e', 'f'));
  mine.request_id = "b";
  mine.prompt = TextPrompt{std::string(120, 'x') + "y"};
  mine.tokenization_kwargs_json = R"({"truncate_prompt_tokens": -1})";
  const std::vector<int32_t> ids = run(mine)[0].input.payload.token_ids;
  EXPECT_EQ(ids.size(), 100u) << "as much as the context holds";
  EXPECT_EQ(ids.back(), 'y');
}

TEST_F(AddRequestTest, WrongTokenizationKwargsNameTheNearestKnown) {
  start();
  const auto refused = [&](const char* kwargs, const char* what) {
    AddRequest wrong = request("a", 1);
    wrong.tokenization_kwargs_json = kwargs;
    expect_refused(wrong, what, "tokenization_kwargs");
  };
  refused("[]", "must be a JSON object");
  refused("{", "must be a JSON object");
  refused(R"({"add_special_token": true})", "did you mean 'add_special_tokens'?");
  refused(R"({"add_special_tokens": 1})", "it must be true or false");
  refused(R"({"truncate_prompt_tokens": 0})", "it must be 1 or larger, or -1");
  refused(R"({"truncate_prompt_tokens": "2"})", "it must be 1 or larger, or -1");
}

TEST_F(AddRequestTest, ATimeoutEndsTheRequestWithAnError) {
  const auto gate = std::make_shared<Gate>();
  start({{}, gated(gate), {}});
  AddRequest mine = request("a", 5);
  mine.timeout_s = 0.05;
  ASSERT_TRUE(engine_->add_request(mine).ok());
  gate->wait_for(1);
  const Seen& seen = read_until_end("a");
  EXPECT_EQ(seen.error.code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(seen.error.message(), "The request has taken longer than its limit of 0.05 s.");
  gate->open();
  for (const double wrong : {0.0, -1.0, std::nan("")}) {
    mine.timeout_s = wrong;
    expect_refused(mine, "must be larger than 0", "timeout_s");
  }
}

TEST_F(AddRequestTest, TheEnginesLimitsHoldForEveryRequest) {
  EngineOptions options;
  options.max_tokens_per_request = 3;
  options.request_timeout_s = 1000;
  start({}, options);
  ASSERT_TRUE(engine_->add_request(request("a", 50)).ok());
  EXPECT_EQ(read_until_end("a").tokens.at(0).size(), 3u);
}

TEST_F(AddRequestTest, ArrivalTimeIsInSecondsSinceTheEpoch) {
  start();
  AddRequest mine = request("a", 1);
  mine.arrival_time = -1;
  expect_refused(mine, "`arrival_time` is -1", "arrival_time");
  mine.arrival_time = std::numeric_limits<double>::infinity();
  expect_refused(mine, "`arrival_time` is inf", "arrival_time");
  mine.arrival_time = 1.7e9;
  ASSERT_TRUE(engine_->add_request(mine).ok());
  EXPECT_TRUE(read_until_end("a").error.ok());
}

TEST_F(AddRequestTest, EmbeddingsMustBeWholeRows) {
  start();
  AddRequest wrong = request("a", 1);
  for (const EmbedsPrompt& prompt :
       {EmbedsPrompt{0, {1, 2}}, EmbedsPrompt{4, {}}, EmbedsPrompt{4, std::vector<float>(6)}}) {
    wrong.prompt = prompt;
    expect_refused(wrong, "at least one whole row", "prompt");
  }
}

TEST_F(AddRequestTest, AnUnknownLoraIsAnErrorAtTheCall) {
  start();
  AddRequest wrong = request("a", 1);
  wrong.lora_request = LoraRequest{"poet", ""};
  expect_refused(wrong, "There is no adapter 'poet'; loaded are: none", "lora_request");
  wrong.lora_request = LoraRequest{"", "/somewhere"};
  expect_refused(wrong, "`lora_name` is empty", "lora_request");
  EXPECT_EQ(engine_->queues()[0].high_water, 0);
}

TEST_F(AddRequestTest, RequestsOfOneConversationHaveOneRoute) {
  const auto hash = [](const Prompt& prompt, std::vector<int32_t> ids) {
    StageInput input;
    input.payload.token_ids = std::move(ids);
    return route_hash(prompt, input);
  };
  ChatPrompt first{.messages = {ChatMessage::text("system", "s"), ChatMessage::text("user", "u")}};
  ChatPrompt later = first;
  later.messages.push_back(ChatMessage::text("assistant", "a"));
  later.messages.push_back(ChatMessage::text("user", "u2"));
  EXPECT_EQ(hash(first, {1}), hash(later, {1, 2, 3}));
  ChatPrompt other = first;
  other.messages[1] = ChatMessage::text("user", "v");
  EXPECT_NE(hash(first, {1}), hash(other, {1}));
  EXPECT_NE(hash(TextPrompt{}, {1, 2}), hash(TextPrompt{}, {2, 1}));
  EXPECT_NE(hash(TextPrompt{}, {}), 0u);
}

TEST_F(AddRequestTest, TheWaitForRoomIsChecked) {
  start();
  for (const double wait : {std::nan(""), -5.0}) {
    AddRequest wrong = request("a", 1);
    wrong.queue_timeout_s = wait;
    expect_refused(std::move(wrong), "it must be 0 or larger", "queue_timeout_s");
  }
}

}  // namespace
}  // namespace tutti::fake
