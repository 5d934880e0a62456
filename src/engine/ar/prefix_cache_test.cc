// What the prefix cache serves, and that it changes nothing but the work. The fake model's logits
// and extras are hashes of all that a sequence has in the KV cache.
#include "engine/ar/prefix_cache.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/testing/counting_allocator.h"
#include "engine/ar/engine_harness.h"

namespace tutti::ar {
namespace {

StageRequest request_of(uint64_t key, std::vector<int32_t> prompt, int32_t max_tokens,
                        int32_t picture = 1) {
  SamplingParams params;
  params.temperature = key % 2 == 0 ? 0.0f : 0.8f;
  params.repetition_penalty = 1.1f;
  params.max_tokens = max_tokens;
  params.seed = 5;
  StageRequest request = make_request(key, std::move(prompt), params);
  request.input.payload.tensors.emplace("picture",
                                        Tensor::from_vector(std::vector<int32_t>{picture}, {1}));
  request.wants_payload = true;
  return request;
}

Collected run_uncached(StageRequest request) {
  StageEngineOptions options;
  options.enable_prefix_caching = false;
  EngineHarness harness({}, options);
  const uint64_t key = request.key.value;
  EXPECT_TRUE(harness.engine->admit(std::move(request)).ok());
  harness.run_until_idle();
  EXPECT_EQ(harness.engine->stats().prefix_query_tokens, 0);
  return harness.results[key];
}

Collected run(EngineHarness& harness, StageRequest request) {
  const uint64_t key = request.key.value;
  EXPECT_TRUE(harness.engine->admit(std::move(request)).ok());
  harness.run_until_idle();
  harness.expect_all_memory_free();
  return harness.results[key];
}

void expect_same(const Collected& a, const Collected& b) {
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.codes, b.codes);
  EXPECT_EQ(a.positions, b.positions);
  EXPECT_EQ(a.extras, b.extras);
  EXPECT_EQ(b.ends, 1);
}

TEST(PrefixCache, ASecondEqualRequestComputesItsLastBlockAlone) {
  EngineHarness harness({}, small_options(100));
  const auto prompt = prompt_ids(1, 24);
  const Collected first = run(harness, request_of(1, prompt, 3));
  EXPECT_EQ(first.metrics.cached_tokens, 0);
  EXPECT_FALSE(first.extras.empty());
  const int64_t before = harness.model->rows_computed;
  const Collected second = run(harness, request_of(3, prompt, 3));
  // Six blocks of four: the last position must be computed, and so its block.
  EXPECT_EQ(second.metrics.cached_tokens, 20);
  EXPECT_EQ(harness.model->rows_computed - before, 4 + 2);
  EXPECT_EQ(harness.engine->stats().prefix_query_tokens, 48);
  EXPECT_EQ(harness.engine->stats().prefix_hit_tokens, 20);
  expect_same(run_uncached(request_of(1, prompt, 3)), first);
  expect_same(run_uncached(request_of(3, prompt, 3)), second);
}

TEST(PrefixCache, ALaterTurnComputesWhatIsNew) {
  EngineHarness harness({}, small_options(100));
  std::vector<int32_t> chat;
  for (uint64_t turn = 0; turn < 4; ++turn) {
    const auto said = prompt_ids(static_cast<int32_t>(turn), 9);
    chat.insert(chat.end(), said.begin(), said.end());
    const Collected answer = run(harness, request_of(turn, chat, 10));
    expect_same(run_uncached(request_of(turn, chat, 10)), answer);
    // All but the answer's last token was in the cache, in whole blocks. Pictures within an answer
    // are none, and become some in the next prompt: those blocks are others.
    if (turn > 0) EXPECT_GE(answer.metrics.cached_tokens, 8);
    for (const int32_t id : answer.tokens) chat.push_back(testing::is_picture(id) ? id + 1 : id);
  }
}

TEST(PrefixCache, BlocksOfAnswersServeLaterPrompts) {
  // A prompt without pictures whose greedy answer has none, so that it can be said again as it was.
  for (int32_t seed = 0; seed < 200; ++seed) {
    std::vector<int32_t> chat = {seed % 90 + 1, 2, 3, 4, seed % 7 + 6};
    if (std::ranges::any_of(chat, testing::is_picture)) continue;
    EngineHarness harness({}, small_options(100));
    const Collected answer = run(harness, request_of(0, chat, 8));
    if (std::ranges::any_of(answer.tokens, testing::is_picture)) continue;
    chat.insert(chat.end(), answer.tokens.begin(), answer.tokens.end());
    const Collected next = run(harness, request_of(1, chat, 8));
    // 5 + 7 positions were computed: three blocks, the second with prompt and answer in it.
    EXPECT_EQ(next.metrics.cached_tokens, 12);
    expect_same(run_uncached(request_of(1, chat, 8)), next);
    return;
  }
  FAIL() << "no answer without pictures";
}

TEST(PrefixCache, OtherPicturesOfTheSameSizeAreNotShared) {
  EngineHarness harness({}, small_options(100));
  const auto prompt = prompt_ids(1, 24);
  ASSERT_TRUE(std::ranges::any_of(std::span(prompt).first(4), testing::is_picture) ||
              std::ranges::any_of(std::span(prompt).first(8), testing::is_picture));
  run(harness, request_of(1, prompt, 3, 1));
  const Collected other = run(harness, request_of(3, prompt, 3, 2));
  EXPECT_LE(other.metrics.cached_tokens, 4);
  expect_same(run_uncached(request_of(3, prompt, 3, 2)), other);
  EXPECT_NE(other.tokens, harness.results[1].tokens);
}

TEST(PrefixCache, RunningSequencesShareBlocks) {
  EngineHarness harness({}, small_options(100));
  const auto prompt = prompt_ids(2, 41);
  ASSERT_TRUE(harness.engine->admit(request_of(0, prompt, 30)).ok());
  harness.step();
  EXPECT_EQ(harness.engine->stats().kv_blocks_used, 11);
  ASSERT_TRUE(harness.engine->admit(request_of(1, prompt, 30)).ok());
  harness.step();
  EXPECT_EQ(harness.engine->stats().kv_blocks_used, 12);
  EXPECT_TRUE(harness.engine->abort(RequestKey(0)));
  harness.run_until_idle();
  expect_same(run_uncached(request_of(1, prompt, 30)), harness.results[1]);
  harness.expect_all_memory_free();
}

TEST(PrefixCache, ResetForgetsWhatNobodyHolds) {
  EngineHarness harness({}, small_options(100));
  const auto prompt = prompt_ids(1, 24);
  run(harness, request_of(1, prompt, 3));
  harness.engine->reset_prefix_cache();
  EXPECT_EQ(run(harness, request_of(2, prompt, 3)).metrics.cached_tokens, 0);
  ASSERT_TRUE(harness.engine->admit(request_of(3, prompt, 9)).ok());
  harness.step();
  harness.engine->reset_prefix_cache();
  harness.run_until_idle();
  expect_same(run_uncached(request_of(3, prompt, 9)), harness.results[3]);
}

TEST(PrefixCache, IsOffForModelsWhosePromptsAreNoTokens) {
  testing::FakeArOptions talker;
  talker.prompt_has_token_ids = false;
  EngineHarness harness(talker, small_options(100));
  for (const uint64_t key : {1, 2}) {
    EXPECT_EQ(run(harness, request_of(key, prompt_ids(1, 24), 3)).metrics.cached_tokens, 0);
  }
  EXPECT_EQ(harness.engine->stats().prefix_query_tokens, 0);
}

TEST(PrefixCache, AFailedStepLeavesNothingBehind) {
  EngineHarness harness({}, small_options(100));
  auto prompt = prompt_ids(1, 24);
  ASSERT_TRUE(harness.engine->admit(request_of(1, prompt, 3)).ok());
  ASSERT_TRUE(harness.engine->admit(request_of(2, {testing::kThrowId}, 3)).ok());
  harness.run_until_idle();
  EXPECT_FALSE(harness.results[1].error.ok());
  EXPECT_EQ(run(harness, request_of(3, prompt, 3)).metrics.cached_tokens, 0);
}

TEST(PrefixCache, FillingBlocksWhileDecodingAllocatesNothing) {
  if (!testing::counts_allocations()) GTEST_SKIP() << "a sanitizer owns the allocator";
  // The index and hashes are the same for blocks of any sequence: counted around them alone.
  testing::FakeArModel model({});
  BlockManager blocks(64, 4);
  PrefixCache cache(model, blocks, true);
  StageInput input;
  input.payload.token_ids = {1, 2, 3};
  Sequence sequence(make_request(0, {}, {}), nullptr);
  sequence.model = std::move(model.start(input)).value();
  sequence.prompt_length = 3;
  sequence.generated.reserve(200);
  sequence.blocks.reserve(64);
  sequence.block_hashes.reserve(64);
  const int64_t before = testing::allocation_count();
  for (int32_t i = 0; i < 197; ++i) {
    sequence.generated.push_back(i % 97);
    ASSERT_TRUE(blocks.grow(sequence.blocks, sequence.num_known()));
    sequence.num_computed = sequence.num_known();
    cache.remember(sequence);
  }
  EXPECT_EQ(testing::allocation_count(), before);
  EXPECT_EQ(sequence.num_remembered, 50);
  blocks.release(sequence.blocks);
  EXPECT_EQ(blocks.num_idle(), 50);
}

// One world per seed: requests that begin alike in part, tiny memory, aborts and resets.
struct Totals {
  int64_t preemptions = 0;
  int64_t hits = 0;
};

void run_random_world(uint64_t seed, Totals& totals) {
  uint64_t draws = 0;
  const auto draw = [&](uint64_t low, uint64_t high) {
    return low + counter_random(seed, 98, draws++) % (high - low + 1);
  };
  const auto n = [&](uint64_t low, uint64_t high) { return static_cast<int32_t>(draw(low, high)); };
  constexpr uint64_t kRequests = 12;
  const auto make = [seed](uint64_t key) {
    const auto r = [&](uint64_t i) { return counter_random(seed, key, i); };
    auto prompt = prompt_ids(static_cast<int32_t>(r(0) % 2), static_cast<int32_t>(1 + r(1) % 30));
    const auto tail = prompt_ids(static_cast<int32_t>(r(2) % 3), static_cast<int32_t>(r(3) % 8));
    prompt.insert(prompt.end(), tail.begin(), tail.end());
    StageRequest request = request_of(key, std::move(prompt), 1 + static_cast<int32_t>(r(4) % 16),
                                      static_cast<int32_t>(r(5) % 4 == 0));
    request.priority = static_cast<int32_t>(r(6) % 2);
    request.streams_payload = r(7) % 4 != 0;
    return request;
  };
  StageEngineOptions options = small_options(0, n(1, 5));
  options.kv_cache_bytes = small_options(1, 1).kv_cache_bytes * static_cast<int64_t>(draw(60, 150));
  options.max_num_batched_tokens = n(1, 40);
  options.max_num_seqs = n(1, 6);
  EngineHarness harness({}, options);
  std::vector<bool> is_gone(kRequests, false);
  uint64_t admitted = 0;
  while (admitted < kRequests || harness.engine->has_runnable_work()) {
    const uint64_t what = draw(0, 99);
    if (what < 25 && admitted < kRequests) {
      ASSERT_TRUE(harness.engine->admit(make(admitted++)).ok());
    } else if (what == 98 && admitted > 0) {
      const uint64_t key = draw(0, admitted - 1);
      if (harness.engine->abort(RequestKey(key))) is_gone[key] = true;
    } else if (what == 99) {
      harness.engine->reset_prefix_cache();
    } else {
      harness.step();
    }
  }
  harness.expect_all_memory_free();
  totals.preemptions += harness.engine->stats().preemptions;
  totals.hits += harness.engine->stats().prefix_hit_tokens;
  for (uint64_t key = 0; key < kRequests; ++key) {
    SCOPED_TRACE(key);
    if (!is_gone[key]) expect_same(run_uncached(make(key)), harness.results[key]);
  }
}

TEST(PrefixCache, ChangesNothingInRandomWorlds) {
  Totals totals;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    run_random_world(seed, totals);
    if (HasFailure()) return;
  }
  EXPECT_GT(totals.preemptions, 100);
  EXPECT_GT(totals.hits, 3000);
}

}  // namespace
}  // namespace tutti::ar
