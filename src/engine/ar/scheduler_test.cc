// Who runs when: batches, budgets, priorities, waiting for upstream, preemption.
#include "engine/ar/scheduler.h"

#include <gtest/gtest.h>

#include "engine/ar/engine_harness.h"

namespace tutti::ar {
namespace {

SamplingParams tokens(int32_t count) {
  SamplingParams params;
  params.max_tokens = count;
  return params;
}

testing::FakeArOptions talker() {
  testing::FakeArOptions options;
  options.min_prompt = 4;
  options.needs_upstream = true;
  return options;
}

StageRequest open_request(uint64_t key, std::vector<int32_t> ids, int32_t count) {
  StageRequest request = make_request(key, std::move(ids), tokens(count));
  request.input.last = false;
  return request;
}

TEST(Scheduler, FillsAStepUpToItsTokens) {
  StageEngineOptions options;
  options.max_num_batched_tokens = 10;
  EngineHarness harness({}, options);
  ASSERT_TRUE(harness.engine->admit(make_request(0, prompt_ids(0, 4), tokens(9))).ok());
  ASSERT_TRUE(harness.engine->admit(make_request(1, prompt_ids(1, 12), tokens(9))).ok());
  harness.step();  // 4 + 6 of 12
  EXPECT_EQ(harness.results[0].tokens.size(), 1u);
  EXPECT_EQ(harness.results[1].tokens.size(), 0u);
  harness.step();  // 1 + 6 of 12
  EXPECT_EQ(harness.results[0].tokens.size(), 2u);
  EXPECT_EQ(harness.results[1].tokens.size(), 1u);
  EXPECT_EQ(harness.model->max_rows_seen, 10);
}

TEST(Scheduler, ALongPromptNeverHoldsDecodesUp) {
  StageEngineOptions options;
  options.max_num_batched_tokens = 8;
  EngineHarness harness({}, options);
  ASSERT_TRUE(harness.engine->admit(make_request(0, prompt_ids(0, 4), tokens(30))).ok());
  harness.step();
  ASSERT_TRUE(harness.engine->admit(make_request(1, prompt_ids(1, 100), tokens(2))).ok());
  for (size_t step = 2; step <= 12; ++step) {
    harness.step();
    EXPECT_EQ(harness.results[0].tokens.size(), step);
  }
}

TEST(Scheduler, SmallerPriorityComesFirst) {
  StageEngineOptions options;
  options.max_num_seqs = 1;
  EngineHarness harness({}, options);
  const auto admit = [&](uint64_t key, int32_t priority) {
    StageRequest request = make_request(key, prompt_ids(1, 3), tokens(1));
    request.priority = priority;
    ASSERT_TRUE(harness.engine->admit(std::move(request)).ok());
  };
  admit(0, 5);
  admit(1, 0);
  admit(2, 5);
  admit(3, -1);
  std::vector<uint64_t> order;
  while (harness.engine->has_runnable_work()) {
    harness.step();
    for (const auto& [key, result] : harness.results) {
      if (result.ends == 1 && std::find(order.begin(), order.end(), key) == order.end())
        order.push_back(key);
    }
  }
  EXPECT_EQ(order, (std::vector<uint64_t>{3, 1, 0, 2}));
}

TEST(Scheduler, SequencesTakeTurnsWhenAStepIsTooSmall) {
  StageEngineOptions options;
  options.max_num_seqs = 2;
  EngineHarness harness(talker(), options);
  for (uint64_t key = 0; key < 6; ++key)
    ASSERT_TRUE(harness.engine->admit(open_request(key, {1, 2, 3, 4}, 50)).ok());
  harness.run_until_idle(100);
  for (uint64_t key = 0; key < 6; ++key) harness.append(key, {}, true);
  // All six can go on, two in a step.
  for (size_t turn = 1; turn <= 5; ++turn) {
    for (int step = 0; step < 3; ++step) harness.step();
    for (uint64_t key = 0; key < 6; ++key)
      EXPECT_EQ(harness.results[key].tokens.size(), 1 + turn) << key;
  }
}

TEST(Scheduler, WaitingForUpstreamHoldsNobodyUp) {
  StageEngineOptions options;
  options.max_num_seqs = 2;
  EngineHarness harness(talker(), options);
  // Two without a whole prompt and two that stop after their prompt, all earlier than the last.
  ASSERT_TRUE(harness.engine->admit(open_request(0, {1}, 9)).ok());
  ASSERT_TRUE(harness.engine->admit(open_request(1, {1, 2}, 9)).ok());
  ASSERT_TRUE(harness.engine->admit(open_request(2, {1, 2, 3, 4}, 9)).ok());
  ASSERT_TRUE(harness.engine->admit(open_request(3, {1, 2, 3, 4}, 9)).ok());
  ASSERT_TRUE(harness.engine->admit(make_request(4, {1, 2, 3, 4, 5}, tokens(9))).ok());
  harness.run_until_idle(100);
  EXPECT_EQ(harness.results[2].tokens.size(), 1u);
  EXPECT_EQ(harness.results[3].tokens.size(), 1u);
  EXPECT_EQ(harness.results[4].tokens.size(), 9u);
  EXPECT_EQ(harness.engine->stats().blocked, 4);
  EXPECT_FALSE(harness.engine->has_runnable_work());

  harness.append(2, {7, 8}, false);
  harness.run_until_idle(100);
  EXPECT_EQ(harness.results[2].tokens.size(), 3u);
  harness.append(0, {7, 8, 9}, true);
  harness.append(1, {7, 8}, true);
  harness.append(2, {}, true);
  harness.append(3, {}, true);
  harness.run_until_idle(100);
  for (uint64_t key = 0; key < 5; ++key) EXPECT_EQ(harness.results[key].tokens.size(), 9u) << key;
  harness.expect_all_memory_free();
}

TEST(Scheduler, ComesToRestWhenWaitingOnesHoldTheMemory) {
  // 6 blocks of 4: three open sequences hold two each after their first token.
  EngineHarness harness(talker(), small_options(6));
  for (uint64_t key = 0; key < 3; ++key)
    ASSERT_TRUE(harness.engine->admit(open_request(key, {1, 2, 3, 4, 5}, 6)).ok());
  harness.run_until_idle(100);
  ASSERT_EQ(harness.engine->stats().kv_blocks_used, 6);
  ASSERT_TRUE(harness.engine->admit(make_request(3, {1, 2, 3, 4}, tokens(3))).ok());
  EXPECT_FALSE(harness.engine->has_runnable_work());
  for (uint64_t key = 0; key < 3; ++key) harness.append(key, {}, true);
  harness.run_until_idle(100);
  for (uint64_t key = 0; key < 4; ++key) EXPECT_EQ(harness.results[key].ends, 1) << key;
  harness.expect_all_memory_free();
}

TEST(Scheduler, PreemptsTheLastInRank) {
  EngineHarness harness({}, small_options(8));
  for (uint64_t key = 0; key < 3; ++key) {
    StageRequest request = make_request(key, prompt_ids(1, 8), tokens(12));
    request.priority = key == 0 ? 1 : 0;  // the first to arrive is the last in rank
    ASSERT_TRUE(harness.engine->admit(std::move(request)).ok());
  }
  harness.run_until_idle();
  EXPECT_GT(harness.results[0].metrics.preemptions, 0);
  EXPECT_EQ(harness.results[1].metrics.preemptions, 0);
  EXPECT_EQ(harness.engine->stats().preemptions,
            harness.results[0].metrics.preemptions + harness.results[2].metrics.preemptions);
  for (uint64_t key = 0; key < 3; ++key) EXPECT_EQ(harness.results[key].tokens.size(), 12u);
  harness.expect_all_memory_free();
}

StageRequest ranked(uint64_t key, int32_t priority, int32_t prompt, int32_t count) {
  StageRequest request =
      make_request(key, prompt_ids(static_cast<int32_t>(key) + 1, prompt), tokens(count));
  request.priority = priority;
  return request;
}

TEST(Scheduler, ABetterPriorityTakesBlocksFromWorseOnes) {
  EngineHarness harness({}, small_options(8));
  ASSERT_TRUE(harness.engine->admit(ranked(0, 5, 20, 4)).ok());
  ASSERT_TRUE(harness.engine->admit(ranked(1, 4, 4, 3)).ok());
  harness.step();
  ASSERT_EQ(harness.engine->stats().kv_blocks_used, 6);
  ASSERT_TRUE(harness.engine->admit(ranked(2, 0, 16, 4)).ok());
  EXPECT_TRUE(harness.engine->has_runnable_work());
  harness.step();
  EXPECT_EQ(harness.results[2].tokens.size(), 1u);
  harness.run_until_idle();
  // The worst gave way, once; who was better than it kept its blocks.
  EXPECT_EQ(harness.results[0].metrics.preemptions, 1);
  EXPECT_EQ(harness.results[1].metrics.preemptions, 0);
  const int32_t prompts[] = {20, 4, 16}, counts[] = {4, 3, 4};
  for (uint64_t key = 0; key < 3; ++key) {
    EngineHarness alone;
    ASSERT_TRUE(alone.engine->admit(ranked(key, 0, prompts[key], counts[key])).ok());
    alone.run_until_idle();
    EXPECT_EQ(harness.results[key].tokens, alone.results[key].tokens) << key;
  }
  harness.expect_all_memory_free();
}

TEST(Scheduler, ABetterPriorityTakesPlacesOfAStep) {
  StageEngineOptions options;
  options.max_num_seqs = 1;
  EngineHarness harness({}, options);
  ASSERT_TRUE(harness.engine->admit(ranked(0, 5, 4, 6)).ok());
  harness.step();
  harness.step();
  ASSERT_TRUE(harness.engine->admit(ranked(1, -1, 4, 3)).ok());
  for (int step = 0; step < 3; ++step) harness.step();
  EXPECT_EQ(harness.results[1].ends, 1);
  EXPECT_EQ(harness.results[0].tokens.size(), 2u);
  harness.run_until_idle();
  EXPECT_EQ(harness.results[0].tokens.size(), 6u);
  EXPECT_EQ(harness.engine->stats().preemptions, 0) << "its blocks were not in the way";
}

TEST(Scheduler, EqualsNeverGiveWayToANewcomer) {
  EngineHarness harness({}, small_options(8));
  ASSERT_TRUE(harness.engine->admit(ranked(0, 1, 24, 6)).ok());
  harness.step();
  for (uint64_t key = 1; key < 4; ++key)
    ASSERT_TRUE(harness.engine->admit(ranked(key, 1, 20, 4)).ok());
  harness.run_until_idle();
  EXPECT_EQ(harness.engine->stats().preemptions, 0);
  for (uint64_t key = 0; key < 4; ++key) EXPECT_EQ(harness.results[key].ends, 1) << key;
}

TEST(Scheduler, NobodyGivesWayInVain) {
  EngineHarness harness({}, small_options(8));
  ASSERT_TRUE(harness.engine->admit(ranked(0, 0, 20, 4)).ok());
  ASSERT_TRUE(harness.engine->admit(ranked(1, 5, 4, 4)).ok());
  harness.step();
  // Six blocks cannot come free while the first runs.
  ASSERT_TRUE(harness.engine->admit(ranked(2, 1, 24, 2)).ok());
  harness.step();
  EXPECT_EQ(harness.engine->stats().preemptions, 0);
  EXPECT_EQ(harness.results[1].tokens.size(), 2u);
  harness.run_until_idle();
  for (uint64_t key = 0; key < 3; ++key) EXPECT_EQ(harness.results[key].ends, 1) << key;
}

TEST(Scheduler, APromptIsCutToWhatTheStepMayTake) {
  EngineHarness harness;
  ASSERT_TRUE(harness.engine->admit(ranked(0, 0, 4, 40)).ok());
  harness.step();
  ASSERT_TRUE(harness.engine->admit(ranked(1, 0, 100, 1)).ok());
  harness.executor.listeners = true;
  const int64_t before = harness.model->rows_computed;
  harness.step();
  // The first cut is a guess; decodes are never cut.
  EXPECT_EQ(harness.model->rows_computed - before, 1 + 32);
  harness.executor.listeners = false;
  harness.step();
  EXPECT_EQ(harness.results[1].ends, 1);
}

TEST(Scheduler, ManySequencesInLittleMemoryAllEnd) {
  EngineHarness harness({}, small_options(10, 2));
  for (uint64_t key = 0; key < 40; ++key) {
    StageRequest request =
        make_request(key, prompt_ids(static_cast<int32_t>(key), 1 + static_cast<int32_t>(key) % 9),
                     tokens(1 + static_cast<int32_t>(key) % 10));
    request.priority = static_cast<int32_t>(key) % 3;
    ASSERT_TRUE(harness.engine->admit(std::move(request)).ok());
    if (key % 4 == 0) harness.step();
  }
  harness.run_until_idle();
  for (uint64_t key = 0; key < 40; ++key) {
    EXPECT_EQ(harness.results[key].ends, 1) << key;
    EXPECT_EQ(harness.results[key].tokens.size(), 1 + key % 10) << key;
  }
  harness.expect_all_memory_free();
}

}  // namespace
}  // namespace tutti::ar
