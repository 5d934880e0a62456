#include "engine/ar/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/ar/logprobs.h"
#include "engine/testing/fake_executor.h"

namespace tutti::ar {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

SamplingParams greedy() {
  SamplingParams params;
  params.temperature = 0;
  return params;
}

// One row through the sampler: the chosen id, or -1 when the row is bad.
class SamplerTest : public ::testing::Test {
 protected:
  int32_t choose(std::vector<float> logits, const SamplingParams& params, uint64_t seed = 1,
                 int64_t index = 0) {
    Sampler sampler(info(), 1);
    const Tensor row = Tensor::from_vector(logits, {1, info_.vocab_size});
    const SampleRow rows[] = {{&params, &penalties_, seed, index}};
    executor_.run({}, [&](OpContext& ctx) { sampler.sample(ctx, row, rows); });
    logprobs_ = sampler.logprobs(0);
    left_.assign(row.data<float>(), row.data<float>() + info_.vocab_size);
    return sampler.is_bad(0) ? -1 : sampler.token_ids()[0];
  }
  const ArModelInfo& info() {
    info_.vocab_size = 4;
    return info_;
  }

  ArModelInfo info_;
  Penalties penalties_;
  testing::FakeExecutor executor_;
  std::vector<TokenLogprob> logprobs_;
  std::vector<float> left_;  // logits as they went into the choice
};

TEST_F(SamplerTest, GreedyTakesTheLargestAndTheLowerIdOnTies) {
  EXPECT_EQ(choose({0, 3, 3, 1}, greedy()), 1);
}

TEST_F(SamplerTest, NeverChoosesSuppressedIds) {
  info_.suppressed_token_ids = {1, 2};
  EXPECT_EQ(choose({0, 3, 3, 1}, greedy()), 3);
}

TEST_F(SamplerTest, MasksEndTokensBeforeMinTokens) {
  info_.eos_token_ids = {1};
  SamplingParams params = greedy();
  params.stop_token_ids = {2};
  params.min_tokens = 2;
  EXPECT_EQ(choose({0, 4, 3, 1}, params, 1, 0), 3);
  EXPECT_EQ(choose({0, 4, 3, 1}, params, 1, 1), 3);
  EXPECT_EQ(choose({0, 4, 3, 1}, params, 1, 2), 1);
}

TEST_F(SamplerTest, TakesForcedTokensWhateverTheLogitsSay) {
  SamplingParams params = greedy();
  params.forced_token_ids = {2, 0};
  params.min_tokens = 5;
  info_.suppressed_token_ids = {2};
  EXPECT_EQ(choose({1, 9, -kInf, 0}, params, 1, 0), 2);
  EXPECT_EQ(choose({-kInf, -kInf, -kInf, -kInf}, params, 1, 1), 0) << "nothing had to be chosen";
  EXPECT_EQ(choose({1, 9, 3, 0}, params, 1, 2), 1) << "behind them the model chooses";
}

TEST_F(SamplerTest, AddsLogitBias) {
  SamplingParams params = greedy();
  params.logit_bias = {{0, 10.0f}, {1, -100.0f}};
  EXPECT_EQ(choose({0, 4, 3, 1}, params), 0);
  EXPECT_EQ(left_, (std::vector<float>{10, -96, 3, 1}));
}

TEST_F(SamplerTest, RepetitionPenaltySeesPromptAndOutputOnceEach) {
  SamplingParams params = greedy();
  params.repetition_penalty = 2;
  const int32_t prompt[] = {1, 1, 3};
  penalties_.begin(params, 4, prompt);
  penalties_.add(2);
  penalties_.add(2);
  choose({1, 4, -3, 0}, params);
  EXPECT_EQ(left_, (std::vector<float>{1, 2, -6, 0}));
}

TEST_F(SamplerTest, FrequencyAndPresenceSeeTheOutputAlone) {
  SamplingParams params = greedy();
  params.frequency_penalty = 0.5f;
  params.presence_penalty = 0.25f;
  const int32_t prompt[] = {1};
  penalties_.begin(params, 4, prompt);
  penalties_.add(2);
  penalties_.add(2);
  penalties_.add(3);
  choose({1, 1, 1, 1}, params);
  EXPECT_EQ(left_, (std::vector<float>{1, 1, -0.25f, 0.25f}));
}

TEST_F(SamplerTest, RepetitionComesBeforeFrequencyAndPresence) {
  SamplingParams params = greedy();
  params.repetition_penalty = 2;
  params.frequency_penalty = 1;
  params.presence_penalty = 1;
  penalties_.begin(params, 4, {});
  penalties_.add(0);
  choose({4, 0, 0, 0}, params);
  EXPECT_EQ(left_[0], 4.0f / 2 - 1 - 1);
}

TEST_F(SamplerTest, ARowThatIsNotNumbersIsBad) {
  EXPECT_EQ(choose({0, NAN, 1, 2}, greedy()), -1);
  EXPECT_EQ(choose({0, kInf, 1, 2}, greedy()), -1);
  EXPECT_EQ(choose({-kInf, -kInf, -kInf, -kInf}, greedy()), -1);
  EXPECT_EQ(choose({-kInf, -kInf, -kInf, 2}, greedy()), 3);
}

TEST_F(SamplerTest, ABadRowLeavesItsNeighboursAlone) {
  info();
  Sampler sampler(info_, 3);
  const SamplingParams params = greedy();
  const Tensor logits = Tensor::from_vector<float>({0, 1, 2, 3, NAN, 0, 0, 0, 9, 1, 2, 3}, {3, 4});
  const SampleRow row{&params, &penalties_, 1, 0};
  const SampleRow rows[] = {row, row, row};
  executor_.run({}, [&](OpContext& ctx) { sampler.sample(ctx, logits, rows); });
  EXPECT_EQ(sampler.token_ids()[0], 3);
  EXPECT_TRUE(sampler.is_bad(1));
  EXPECT_EQ(sampler.token_ids()[2], 0);
}

TEST_F(SamplerTest, DrawsFollowTheProbabilities) {
  SamplingParams params;
  const std::vector<float> logits = {std::log(1.0f), std::log(2.0f), std::log(3.0f),
                                     std::log(4.0f)};
  std::vector<int> counts(4);
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) ++counts[static_cast<size_t>(choose(logits, params, 5, i))];
  for (size_t id = 0; id < 4; ++id)
    EXPECT_NEAR(counts[id] / double{kDraws}, (static_cast<double>(id) + 1) / 10, 0.02) << id;
}

TEST_F(SamplerTest, DrawsDependOnSeedAndPositionAlone) {
  SamplingParams params;
  std::vector<int32_t> first;
  std::vector<int32_t> second;
  std::vector<int32_t> other;
  for (int i = 0; i < 64; ++i) {
    first.push_back(choose({0, 0, 0, 0}, params, 5, i));
    second.push_back(choose({0, 0, 0, 0}, params, 5, i));
    other.push_back(choose({0, 0, 0, 0}, params, 6, i));
  }
  EXPECT_EQ(first, second);
  EXPECT_NE(first, other);
}

TEST_F(SamplerTest, LogprobsAreOfTheRawLogits) {
  SamplingParams params = greedy();
  params.logprobs = 2;
  params.logit_bias = {{0, 100.0f}};
  EXPECT_EQ(choose({1, 2, 3, 0}, params), 0);
  const double total = std::log(std::exp(1.0) + std::exp(2.0) + std::exp(3.0) + 1.0);
  ASSERT_EQ(logprobs_.size(), 3u);  // the chosen one, third in rank, and the two likeliest
  EXPECT_EQ(logprobs_[0].token_id, 0);
  EXPECT_EQ(logprobs_[0].rank, 3);
  EXPECT_NEAR(logprobs_[0].logprob, 1 - total, 1e-6);
  EXPECT_EQ(logprobs_[1].token_id, 2);
  EXPECT_EQ(logprobs_[1].rank, 1);
  EXPECT_NEAR(logprobs_[1].logprob, 3 - total, 1e-6);
  EXPECT_EQ(logprobs_[2].token_id, 1);
  EXPECT_EQ(logprobs_[2].rank, 2);
}

TEST_F(SamplerTest, ListsTheChosenTokenOnce) {
  const std::vector<float> logits = {1, 2, 2, 0};
  const auto both = token_logprobs(logits, 2, 3);
  ASSERT_EQ(both.size(), 3u);
  EXPECT_EQ(both[0].token_id, 2);
  EXPECT_EQ(both[0].rank, 2);  // of equal logits the lower id ranks first
  EXPECT_EQ(both[1].token_id, 1);
  EXPECT_EQ(both[2].token_id, 0);
  EXPECT_EQ(both[2].rank, 3);
  EXPECT_EQ(token_logprobs(logits, 3, 0).size(), 1u);
}

}  // namespace
}  // namespace tutti::ar
