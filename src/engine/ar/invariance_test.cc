// A request's tokens depend on itself alone: not on neighbours, chunks of its prompt or preemption.
#include <gtest/gtest.h>

#include <set>

#include "base/random.h"
#include "engine/ar/engine_harness.h"

namespace tutti::ar {
namespace {

SamplingParams params_of(uint64_t key) {
  SamplingParams params;
  params.temperature = key % 3 == 0 ? 0.0f : 0.9f;
  params.top_k = key % 2 == 0 ? 20 : 0;
  params.top_p = 0.95f;
  params.repetition_penalty = 1.1f;
  params.frequency_penalty = 0.2f;
  params.max_tokens = 20 + static_cast<int32_t>(key) * 3;
  return params;
}

StageRequest request_of(uint64_t key) {
  StageRequest request =
      make_request(key, prompt_ids(static_cast<int32_t>(key), 5 + static_cast<int32_t>(key) * 4),
                   params_of(key));
  request.wants_payload = true;
  return request;
}

Collected run_alone(uint64_t key, StageEngineOptions options = {}) {
  EngineHarness harness({}, options);
  EXPECT_TRUE(harness.engine->admit(request_of(key)).ok());
  harness.run_until_idle();
  harness.expect_all_memory_free();
  return harness.results[key];
}

void expect_same(const Collected& a, const Collected& b) {
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.codes, b.codes);
  EXPECT_EQ(a.positions, b.positions);
  EXPECT_EQ(b.ends, 1);
}

// Every position's payload comes once, in order, whatever was computed again.
void expect_every_position_once(const Collected& collected, int64_t prompt_length) {
  const int64_t expected = prompt_length + static_cast<int64_t>(collected.tokens.size()) - 1;
  ASSERT_EQ(static_cast<int64_t>(collected.positions.size()), expected);
  for (int64_t i = 0; i < expected; ++i) EXPECT_EQ(collected.positions[static_cast<size_t>(i)], i);
}

TEST(Invariance, AloneGivesVariedTokens) {
  const Collected alone = run_alone(4);
  EXPECT_EQ(alone.tokens.size(), 32u);
  EXPECT_EQ(alone.reason, FinishReason::kLength);
  EXPECT_GT(std::set<int32_t>(alone.tokens.begin(), alone.tokens.end()).size(), 10u);
  expect_every_position_once(alone, 21);
}

TEST(Invariance, NeighboursThatComeAndGoChangeNothing) {
  EngineHarness harness;
  uint64_t next = 0;
  for (int step = 0; next < 8 || harness.engine->has_runnable_work(); ++step) {
    if (step % 3 == 0 && next < 8) ASSERT_TRUE(harness.engine->admit(request_of(next++)).ok());
    if (step == 9) EXPECT_TRUE(harness.engine->abort(RequestKey(1)));
    harness.step();
  }
  EXPECT_GT(harness.model->max_sequences_seen, 4);
  for (uint64_t key = 0; key < 8; ++key) {
    if (key != 1) expect_same(run_alone(key), harness.results[key]);
  }
  EXPECT_EQ(harness.results[1].ends, 0);
  harness.expect_all_memory_free();
}

TEST(Invariance, PromptChunksOfAnySizeChangeNothing) {
  const Collected whole = run_alone(7);
  for (const int32_t tokens : {1, 2, 3, 5, 8, 16, 33}) {
    StageEngineOptions options;
    options.max_num_batched_tokens = tokens;
    options.block_size = 1 + tokens % 5;
    expect_same(whole, run_alone(7, options));
  }
}

TEST(Invariance, PreemptionChangesNothing) {
  // 8 sequences of up to 74 positions; room for 80.
  EngineHarness harness({}, small_options(20));
  for (uint64_t key = 0; key < 8; ++key) ASSERT_TRUE(harness.engine->admit(request_of(key)).ok());
  harness.run_until_idle();
  EXPECT_GT(harness.engine->stats().preemptions, 3);
  for (uint64_t key = 0; key < 8; ++key) {
    expect_same(run_alone(key), harness.results[key]);
    expect_every_position_once(harness.results[key], 5 + 4 * static_cast<int64_t>(key));
  }
  harness.expect_all_memory_free();
}

TEST(Invariance, PreemptionWithTinyStepsChangesNothing) {
  StageEngineOptions options = small_options(20);
  options.max_num_batched_tokens = 3;
  options.max_num_seqs = 2;
  EngineHarness harness({}, options);
  for (uint64_t key = 0; key < 8; ++key) ASSERT_TRUE(harness.engine->admit(request_of(key)).ok());
  harness.run_until_idle();
  EXPECT_LE(harness.model->max_rows_seen, 3);
  EXPECT_LE(harness.model->max_sequences_seen, 2);
  for (uint64_t key = 0; key < 8; ++key) expect_same(run_alone(key), harness.results[key]);
}

TEST(Invariance, WhenUpstreamChunksComeChangesNothing) {
  testing::FakeArOptions talker;
  talker.min_prompt = 6;
  talker.needs_upstream = true;
  const auto ids = prompt_ids(3, 26);
  const auto run = [&](size_t chunk, int64_t blocks, int neighbours) {
    EngineHarness harness(talker, small_options(blocks));
    for (int n = 0; n <= neighbours; ++n) {
      StageRequest request = make_request(static_cast<uint64_t>(n), {}, params_of(4));
      request.input.last = false;
      request.wants_payload = true;
      EXPECT_TRUE(harness.engine->admit(std::move(request)).ok());
    }
    for (size_t at = 0; at < ids.size(); at += chunk) {
      const size_t end = std::min(ids.size(), at + chunk);
      for (int n = 0; n <= neighbours; ++n)
        harness.append(static_cast<uint64_t>(n),
                       {ids.begin() + static_cast<std::ptrdiff_t>(at),
                        ids.begin() + static_cast<std::ptrdiff_t>(end)},
                       end == ids.size());
      harness.run_until_idle();
    }
    harness.expect_all_memory_free();
    return harness.results[0];
  };
  const Collected whole = run(26, 100, 0);
  EXPECT_EQ(whole.tokens.size(), 32u);
  for (const size_t chunk : {1, 2, 7}) {
    expect_same(whole, run(chunk, 100, 0));
    expect_same(whole, run(chunk, 12, 3));
  }
}

TEST(Invariance, AWholeResultIsTheSameInOneOutput) {
  const Collected streamed = run_alone(5);
  EngineHarness harness({}, small_options(20));
  for (uint64_t key = 2; key < 8; ++key) {
    StageRequest request = request_of(key);
    request.streams_payload = false;
    ASSERT_TRUE(harness.engine->admit(std::move(request)).ok());
  }
  harness.run_until_idle();
  EXPECT_GT(streamed.outputs, 5);
  EXPECT_EQ(harness.results[5].outputs, 1);
  expect_same(streamed, harness.results[5]);
}

// One world per seed: random limits, memory, arrivals, chunks and aborts. Adds to `preemptions`.
void run_random_world(uint64_t seed, int64_t& preemptions) {
  uint64_t draws = 0;
  const auto draw = [&](uint64_t low, uint64_t high) {
    return low + counter_random(seed, 99, draws++) % (high - low + 1);
  };
  testing::FakeArOptions talker;
  talker.min_prompt = 5;
  talker.needs_upstream = true;
  constexpr uint64_t kRequests = 7;
  const auto params = [](uint64_t key) {
    SamplingParams params;
    params.top_k = 30;
    params.presence_penalty = 0.3f;
    params.max_tokens = 4 + static_cast<int32_t>(key) * 2;
    return params;
  };
  const auto ids = [](uint64_t key) { return prompt_ids(static_cast<int32_t>(key), 12); };

  StageEngineOptions options = small_options(static_cast<int64_t>(draw(26, 60)), 1);
  options.max_num_batched_tokens = static_cast<int32_t>(draw(1, 12));
  options.max_num_seqs = static_cast<int32_t>(draw(1, 5));
  EngineHarness harness(talker, options);
  std::vector<size_t> sent(kRequests, 0);
  std::vector<bool> is_gone(kRequests, false);
  for (int event = 0; event < 400; ++event) {
    const uint64_t key = draw(0, kRequests - 1);
    const auto all = ids(key);
    const uint64_t what = draw(0, 99);
    if (what < 40) {
      harness.step();
    } else if (what == 40 && key % 3 == 2 && sent[key] > 0) {
      is_gone[key] = true;
      harness.engine->abort(RequestKey(key));
    } else if (!is_gone[key] && sent[key] < all.size()) {
      const size_t end = std::min<size_t>(all.size(), sent[key] + draw(1, 6));
      const std::vector<int32_t> part(all.begin() + static_cast<std::ptrdiff_t>(sent[key]),
                                      all.begin() + static_cast<std::ptrdiff_t>(end));
      if (sent[key] == 0) {
        StageRequest request = make_request(key, part, params(key));
        request.input.last = end == all.size();
        request.priority = static_cast<int32_t>(key % 2);
        request.wants_payload = true;
        ASSERT_TRUE(harness.engine->admit(std::move(request)).ok());
      } else {
        harness.append(key, part, end == all.size());
      }
      sent[key] = end;
    }
  }
  for (uint64_t key = 0; key < kRequests; ++key) {
    if (sent[key] > 0 && sent[key] < 12 && !is_gone[key]) harness.engine->abort(RequestKey(key));
  }
  harness.run_until_idle();
  harness.expect_all_memory_free();
  preemptions += harness.engine->stats().preemptions;
  for (uint64_t key = 0; key < kRequests; ++key) {
    if (is_gone[key] || sent[key] < 12) continue;
    SCOPED_TRACE(key);
    EngineHarness alone(talker);
    StageRequest request = make_request(key, ids(key), params(key));
    request.wants_payload = true;
    ASSERT_TRUE(alone.engine->admit(std::move(request)).ok());
    alone.run_until_idle();
    expect_same(alone.results[key], harness.results[key]);
    expect_every_position_once(harness.results[key], 5);
  }
}

TEST(Invariance, HoldsInRandomWorlds) {
  int64_t preemptions = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    run_random_world(seed, preemptions);
    if (HasFailure()) return;
  }
  EXPECT_GT(preemptions, 300);
}

}  // namespace
}  // namespace tutti::ar
