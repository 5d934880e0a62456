// Lives and ends of single requests: limits, errors, end tokens, text, abort, metrics.
#include "engine/ar/ar_engine.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/strings.h"
#include "engine/ar/engine_harness.h"
#include "text/tokenizer.h"

namespace tutti::ar {
namespace {

SamplingParams greedy(int32_t max_tokens) {
  SamplingParams params;
  params.temperature = 0;
  params.max_tokens = max_tokens;
  return params;
}

// The greedy output of a prompt that nothing ends.
std::vector<int32_t> free_run(const std::vector<int32_t>& prompt, int32_t count) {
  EngineHarness harness;
  EXPECT_TRUE(harness.engine->admit(make_request(0, prompt, greedy(count))).ok());
  harness.run_until_idle();
  return harness.results[0].tokens;
}

TEST(ArEngine, RefusesAPromptLongerThanTheContext) {
  testing::FakeArOptions model;
  model.max_model_len = 20;
  EngineHarness harness(model);
  const Status status = harness.engine->admit(make_request(0, prompt_ids(1, 20), greedy(1)));
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.param(), "prompt");
  EXPECT_EQ(
      status.message(),
      "The prompt has 20 tokens; the context holds 20, of which at least one is for the answer.");
  EXPECT_TRUE(harness.engine->admit(make_request(1, prompt_ids(1, 19), greedy(5))).ok());
  harness.run_until_idle();
  EXPECT_EQ(harness.results[1].tokens.size(), 1u);
  EXPECT_EQ(harness.results[1].reason, FinishReason::kLength);
  harness.expect_all_memory_free();
}

TEST(ArEngine, TheOptionLowersTheContext) {
  StageEngineOptions options;
  options.max_model_len = 12;
  EngineHarness harness({}, options);
  EXPECT_FALSE(harness.engine->admit(make_request(0, prompt_ids(1, 12), greedy(1))).ok());
  EXPECT_TRUE(harness.engine->admit(make_request(1, prompt_ids(1, 8), greedy(100))).ok());
  harness.run_until_idle();
  EXPECT_EQ(harness.results[1].tokens.size(), 4u);
}

TEST(ArEngine, RefusesAPromptThatTheCacheCannotHold) {
  EngineHarness harness({}, small_options(5));
  const Status status = harness.engine->admit(make_request(0, prompt_ids(1, 20), greedy(1)));
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("The prompt has 20 tokens; the KV cache holds 20"),
            std::string::npos)
      << status.message();
  // The longest that fits runs to the cache's end, alone.
  EXPECT_TRUE(harness.engine->admit(make_request(1, prompt_ids(1, 10), greedy(100))).ok());
  harness.run_until_idle();
  EXPECT_EQ(harness.results[1].tokens.size(), 10u);
  EXPECT_EQ(harness.results[1].reason, FinishReason::kLength);
}

TEST(ArEngine, TakesNoMoreMemoryThanItsSequencesCanUse) {
  StageEngineOptions options;
  options.max_num_seqs = 3;
  EngineHarness harness({}, options);
  EXPECT_EQ(harness.engine->stats().kv_blocks_total, 3 * 512 / 16);
}

TEST(ArEngine, RefusesAnEmptyPrompt) {
  EngineHarness harness;
  const Status status = harness.engine->admit(make_request(0, {}, greedy(1)));
  EXPECT_EQ(status.message(), "The prompt is empty; it needs at least one token.");
  EXPECT_FALSE(harness.engine->has_runnable_work());
}

TEST(ArEngine, RefusesBadParameters) {
  EngineHarness harness;
  SamplingParams params = greedy(1);
  params.temperature = -1;
  EXPECT_EQ(harness.engine->admit(make_request(0, {1}, params)).param(), "temperature");
  params = greedy(1);
  params.stop_token_ids = {97};
  const Status status = harness.engine->admit(make_request(0, {1}, params));
  EXPECT_EQ(status.param(), "stop_token_ids");
  EXPECT_EQ(status.message(), "`stop_token_ids` names token 97; the vocabulary has ids 0 to 96.");
  params = greedy(1);
  params.forced_token_ids = {5, 97};
  EXPECT_EQ(harness.engine->admit(make_request(0, {1}, params)).param(), "forced_token_ids");
  params = greedy(1);
  params.logit_bias = {{1000, 1.0f}};
  EXPECT_EQ(harness.engine->admit(make_request(0, {1}, params)).param(), "logit_bias");
}

TEST(ArEngine, RefusesAKeyThatIsLive) {
  EngineHarness harness;
  EXPECT_TRUE(harness.engine->admit(make_request(0, {1}, greedy(1))).ok());
  EXPECT_EQ(harness.engine->admit(make_request(0, {1}, greedy(1))).code(),
            StatusCode::kAlreadyExists);
  harness.run_until_idle();
  EXPECT_EQ(harness.results[0].ends, 1);
}

TEST(ArEngine, AModelsRefusalIsTheRequestsError) {
  EngineHarness harness;
  EXPECT_EQ(harness.engine->admit(make_request(0, {testing::kRefusedId}, greedy(1))).message(),
            "This prompt is refused.");
  StageRequest request = make_request(1, {1}, greedy(4));
  request.input.last = false;
  ASSERT_TRUE(harness.engine->admit(std::move(request)).ok());
  ASSERT_TRUE(harness.engine->admit(make_request(2, {1}, greedy(4))).ok());
  harness.append(1, {testing::kRefusedId}, true);
  harness.run_until_idle();
  EXPECT_EQ(harness.results[1].error.message(), "This chunk is refused.");
  EXPECT_EQ(harness.results[1].reason, FinishReason::kError);
  EXPECT_EQ(harness.results[1].ends, 1);
  EXPECT_EQ(harness.results[2].tokens.size(), 4u);
  harness.expect_all_memory_free();
}

TEST(ArEngine, AnInputThatEndsTooEarlyIsAnError) {
  testing::FakeArOptions talker;
  talker.min_prompt = 4;
  talker.needs_upstream = true;
  EngineHarness harness(talker);
  StageRequest request = make_request(1, {1}, greedy(4));
  request.input.last = false;
  ASSERT_TRUE(harness.engine->admit(std::move(request)).ok());
  EXPECT_FALSE(harness.engine->has_runnable_work());
  harness.append(1, {2}, true);
  harness.run_until_idle();
  EXPECT_EQ(harness.results[1].error.code(), StatusCode::kInternal);
  harness.expect_all_memory_free();
}

TEST(ArEngine, NotANumberEndsItsRequestAlone) {
  const auto expected = free_run(prompt_ids(1, 6), 12);
  EngineHarness harness;
  ASSERT_TRUE(harness.engine->admit(make_request(0, prompt_ids(1, 6), greedy(12))).ok());
  ASSERT_TRUE(harness.engine->admit(make_request(1, {3, testing::kNanId}, greedy(12))).ok());
  harness.run_until_idle();
  EXPECT_EQ(harness.results[0].tokens, expected);
  EXPECT_EQ(harness.results[1].tokens.size(), 2u);
  EXPECT_EQ(harness.results[1].error.code(), StatusCode::kInternal);
  EXPECT_EQ(harness.results[1].ends, 1);
  harness.expect_all_memory_free();
}

TEST(ArEngine, AFailingStepEndsThoseWhoTookPart) {
  EngineHarness harness;
  ASSERT_TRUE(harness.engine->admit(make_request(0, {1, 2}, greedy(2))).ok());
  harness.run_until_idle();
  ASSERT_TRUE(harness.engine->admit(make_request(1, {testing::kThrowId}, greedy(2))).ok());
  harness.run_until_idle();
  ASSERT_TRUE(harness.engine->admit(make_request(2, {1, 2}, greedy(2))).ok());
  harness.run_until_idle();
  EXPECT_EQ(harness.results[1].error.message(),
            "The model failed in a step: the fake model throws");
  EXPECT_EQ(harness.results[0].tokens, harness.results[2].tokens);
  harness.expect_all_memory_free();
}

TEST(ArEngine, EndsEmptyWhenTheModelSaysSo) {
  EngineHarness harness;
  ASSERT_TRUE(harness.engine->admit(make_request(0, {testing::kEmptyId}, greedy(2))).ok());
  StageRequest request = make_request(1, {}, greedy(2));
  request.input.last = false;
  request.streams_payload = false;
  ASSERT_TRUE(harness.engine->admit(std::move(request)).ok());
  harness.append(1, {testing::kEmptyId}, true);
  harness.run_until_idle();
  for (const uint64_t key : {0, 1}) {
    EXPECT_EQ(harness.results[key].ends, 1);
    EXPECT_EQ(harness.results[key].reason, FinishReason::kStop);
    EXPECT_TRUE(harness.results[key].tokens.empty());
  }
  harness.expect_all_memory_free();
}

// The sixth token of its greedy output comes there for the first time.
const std::vector<int32_t> kPrompt = prompt_ids(11, 5);

TEST(ArEngine, StopsAtEndTokens) {
  const auto tokens = free_run(kPrompt, 12);
  const int32_t end = tokens[5];
  ASSERT_EQ(std::find(tokens.begin(), tokens.end(), end) - tokens.begin(), 5);
  const std::vector<int32_t> expected(tokens.begin(), tokens.begin() + 6);

  testing::FakeArOptions model;
  model.eos_token_ids = {end};
  EngineHarness harness(model);
  SamplingParams params = greedy(12);
  ASSERT_TRUE(harness.engine->admit(make_request(0, kPrompt, params)).ok());
  params.ignore_eos = true;
  ASSERT_TRUE(harness.engine->admit(make_request(1, kPrompt, params)).ok());
  params.stop_token_ids = {end};
  ASSERT_TRUE(harness.engine->admit(make_request(2, kPrompt, params)).ok());
  params.min_tokens = 6;
  ASSERT_TRUE(harness.engine->admit(make_request(3, kPrompt, params)).ok());
  harness.run_until_idle();

  EXPECT_EQ(harness.results[0].tokens, expected);
  EXPECT_EQ(harness.results[0].reason, FinishReason::kStop);
  EXPECT_EQ(harness.results[0].stop_reason, "");
  EXPECT_EQ(harness.results[1].tokens, tokens);
  EXPECT_EQ(harness.results[1].reason, FinishReason::kLength);
  EXPECT_EQ(harness.results[2].tokens, expected);
  EXPECT_EQ(harness.results[2].stop_reason, std::to_string(end));
  EXPECT_NE(harness.results[3].tokens[5], end);
  EXPECT_GT(harness.results[3].tokens.size(), 6u);
}

TEST(ArEngine, AnEndTokenMakesNoFrame) {
  const auto tokens = free_run(kPrompt, 12);
  testing::FakeArOptions model;
  model.eos_token_ids = {tokens[5]};
  EngineHarness harness(model);
  for (const uint64_t key : {0, 1}) {
    StageRequest request = make_request(key, kPrompt, greedy(key == 0 ? 12 : 4));
    request.wants_payload = true;
    ASSERT_TRUE(harness.engine->admit(std::move(request)).ok());
  }
  harness.run_until_idle();
  EXPECT_EQ(harness.results[0].codes.size(), 2 * 5u);
  EXPECT_EQ(harness.results[1].codes.size(), 2 * 4u);  // the last token of a length end does
}

TEST(ArEngine, PenaltiesFollowTheOutput) {
  EngineHarness harness;
  SamplingParams params = greedy(60);
  params.repetition_penalty = 1000;
  ASSERT_TRUE(harness.engine->admit(make_request(0, prompt_ids(1, 30), params)).ok());
  harness.run_until_idle();
  std::vector<int32_t> seen = harness.results[0].tokens;
  ASSERT_EQ(seen.size(), 60u);
  for (const int32_t id : prompt_ids(1, 30)) seen.push_back(id);
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(std::unique(seen.begin(), seen.end()), seen.end()) << "a token came again";
}

TEST(ArEngine, ReportsLogprobsPerToken) {
  EngineHarness harness;
  SamplingParams params = greedy(5);
  params.logprobs = 3;
  ASSERT_TRUE(harness.engine->admit(make_request(0, {1, 2}, params)).ok());
  harness.run_until_idle();
  ASSERT_EQ(harness.results[0].logprobs.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    ASSERT_EQ(harness.results[0].logprobs[i].size(),
              3u);  // greedy: the chosen one is the likeliest
    EXPECT_EQ(harness.results[0].logprobs[i][0].token_id, harness.results[0].tokens[i]);
    EXPECT_EQ(harness.results[0].logprobs[i][0].rank, 1);
  }
}

TEST(ArEngine, AbortLetsGoAtOnceAndSaysNothingMore) {
  EngineHarness harness;
  ASSERT_TRUE(harness.engine->admit(make_request(0, {1, 2}, greedy(50))).ok());
  harness.step();
  EXPECT_GT(harness.engine->stats().kv_blocks_used, 0);
  EXPECT_TRUE(harness.engine->abort(RequestKey(0)));
  harness.expect_all_memory_free();
  EXPECT_FALSE(harness.engine->abort(RequestKey(0)));
  EXPECT_FALSE(harness.engine->has_runnable_work());
  harness.append(0, {1}, true);
  // An end that no step has handed out yet is not said either.
  ASSERT_TRUE(harness.engine->admit(make_request(1, {testing::kEmptyId}, greedy(2))).ok());
  harness.engine->abort(RequestKey(1));
  harness.step();
  EXPECT_EQ(harness.results[0].ends, 0);
  EXPECT_EQ(harness.results[0].outputs, 1);
  EXPECT_EQ(harness.results.count(1), 0u);
}

TEST(ArEngine, CountsAndTimes) {
  StageEngineOptions options;
  options.epoch = std::chrono::steady_clock::now();
  EngineHarness harness({}, options);
  ASSERT_TRUE(harness.engine->admit(make_request(0, prompt_ids(1, 9), greedy(4))).ok());
  EXPECT_EQ(harness.engine->stats().waiting, 1);
  harness.step();
  EXPECT_EQ(harness.engine->stats().running, 1);
  harness.run_until_idle();
  const StageMetrics& metrics = harness.results[0].metrics;
  EXPECT_EQ(metrics.prompt_tokens, 9);
  EXPECT_EQ(metrics.output_tokens, 4);
  EXPECT_GT(metrics.compute_s, 0);
  EXPECT_GT(metrics.submitted_s, 0);
  EXPECT_LE(metrics.submitted_s, metrics.first_scheduled_s);
  EXPECT_LE(metrics.first_scheduled_s, metrics.first_output_s);
  EXPECT_LE(metrics.first_output_s, metrics.finished_s);
  EXPECT_EQ(harness.engine->stats().steps, 4);
}

// --- text

class ArEngineText : public ::testing::Test {
 protected:
  void SetUp() override {
    tokenizer_ = golden_tokenizer();
    ASSERT_TRUE(tokenizer_);
    model_.vocab_size = tokenizer_->vocab_size();
  }
  Collected run(const SamplingParams& params, const testing::FakeArOptions& model) {
    EngineHarness harness(model, {}, tokenizer_);
    EXPECT_TRUE(harness.engine->admit(make_request(0, {5, 6, 7}, params)).ok());
    harness.run_until_idle();
    EXPECT_EQ(harness.results[0].ends, 1);
    return harness.results[0];
  }
  // Eight bytes or a few more from the middle of the text, which several tokens make: where they
  // begin, and how many they are.
  static std::pair<size_t, size_t> middle_of(const std::string& text) {
    size_t begin = text.size() / 2;
    while (utf8_complete_prefix(text.substr(0, begin)) != begin) ++begin;
    size_t length = 8;
    while (utf8_complete_prefix(text.substr(begin, length)) != length) ++length;
    return {begin, length};
  }

  std::shared_ptr<const text::Tokenizer> tokenizer_;
  testing::FakeArOptions model_;
};

TEST_F(ArEngineText, IsTheDecodedTokensInCompleteCodePoints) {
  const Collected result = run(greedy(60), model_);
  EXPECT_EQ(result.text, tokenizer_->decode(result.tokens, true));
  for (const std::string& piece : result.texts)
    EXPECT_EQ(utf8_complete_prefix(piece), piece.size());
  SamplingParams params = greedy(60);
  params.skip_special_tokens = false;
  EXPECT_EQ(run(params, model_).text, tokenizer_->decode(result.tokens, false));
}

TEST_F(ArEngineText, StopsAtAStringThatSpansTokens) {
  const Collected whole = run(greedy(60), model_);
  const auto [begin, length] = middle_of(whole.text);
  SamplingParams params = greedy(60);
  params.stop = {whole.text.substr(begin, length)};
  ASSERT_EQ(whole.text.find(params.stop[0]), begin);

  const Collected stopped = run(params, model_);
  EXPECT_EQ(stopped.text, whole.text.substr(0, begin));
  EXPECT_EQ(stopped.reason, FinishReason::kStop);
  EXPECT_EQ(stopped.stop_reason, params.stop[0]);
  EXPECT_LT(stopped.tokens.size(), whole.tokens.size());

  params.include_stop_str_in_output = true;
  EXPECT_EQ(run(params, model_).text, whole.text.substr(0, begin + length));

  params.min_tokens = 60;
  EXPECT_EQ(run(params, model_).text, whole.text);
}

// The fake model's payload tells positions: here the three of the prompt, then one of each token.
TEST_F(ArEngineText, WhatMayBePartOfAStopStringIsNotForTheNextStage) {
  const Collected whole = run(greedy(60), model_);
  const auto [begin, length] = middle_of(whole.text);
  const std::string stop = whole.text.substr(begin, length);
  ASSERT_EQ(whole.text.find(stop), begin);
  // Tokens that are wholly before it.
  size_t before = 0;
  for (size_t n = 1; n <= whole.tokens.size(); ++n) {
    const std::string text = tokenizer_->decode(std::span(whole.tokens).first(n), true);
    if (text.size() <= begin && whole.text.starts_with(text)) before = n;
  }
  for (const bool streams : {true, false}) {
    const auto told = [&](std::vector<std::string> stops, bool include) {
      SamplingParams params = greedy(60);
      params.stop = std::move(stops);
      params.include_stop_str_in_output = include;
      StageRequest request = make_request(0, {5, 6, 7}, params);
      request.wants_payload = true;
      request.streams_payload = streams;
      EngineHarness harness(model_, {}, tokenizer_);
      EXPECT_TRUE(harness.engine->admit(std::move(request)).ok());
      harness.run_until_idle();
      return harness.results[0];
    };
    const Collected all = told({}, false);
    EXPECT_EQ(all.positions.size(), 3 + whole.tokens.size() - 1);
    const Collected stopped = told({stop}, false);
    ASSERT_GT(stopped.tokens.size(), before + 1) << "the stop string has several tokens";
    std::vector<int32_t> spoken(3 + before);
    std::iota(spoken.begin(), spoken.end(), 0);
    EXPECT_EQ(stopped.positions, spoken);
    const Collected shown = told({stop}, true);
    EXPECT_EQ(shown.positions.size(), 3 + shown.tokens.size() - 1);
    // One that begins and never ends takes nothing away.
    EXPECT_EQ(told({stop + "never"}, false).positions, all.positions);
  }
}

TEST_F(ArEngineText, StopStringsCountFromTheTokenAfterMinTokens) {
  const Collected whole = run(greedy(20), model_);
  SamplingParams params = greedy(20);
  // The tenth token's text, which begins and ends with it.
  params.stop = {whole.texts[9]};
  ASSERT_GE(whole.texts[9].size(), 2u);
  size_t before = 0;
  for (size_t i = 0; i < 9; ++i) before += whole.texts[i].size();
  ASSERT_EQ(whole.text.find(params.stop[0]), before);
  params.min_tokens = 9;
  EXPECT_EQ(run(params, model_).tokens.size(), 10u);
  params.min_tokens = 10;
  EXPECT_EQ(run(params, model_).text, whole.text);
}

TEST_F(ArEngineText, AnEndTokenIsNotShown) {
  const Collected whole = run(greedy(20), model_);
  SamplingParams params = greedy(20);
  params.stop_token_ids = {whole.tokens[9]};
  const Collected stopped = run(params, model_);
  ASSERT_EQ(stopped.tokens.size(), 10u);
  EXPECT_EQ(stopped.text, tokenizer_->decode(std::span(stopped.tokens).first(9), true));
  params.include_stop_str_in_output = true;
  EXPECT_EQ(run(params, model_).text, tokenizer_->decode(stopped.tokens, true));
}

}  // namespace
}  // namespace tutti::ar
