// Resumable sequences: segments and answers equal one prompt that holds them all, and only new
// positions are computed.
#include <gtest/gtest.h>

#include "base/random.h"
#include "engine/ar/engine_harness.h"

namespace tutti::ar {
namespace {

struct Piece {
  std::vector<int32_t> ids;
  SamplingParams params;
  uint64_t seed = 0;
};

SamplingParams answer(int32_t tokens) {
  SamplingParams params;
  params.temperature = 0.9f;
  params.repetition_penalty = 1.2f;
  params.max_tokens = tokens;
  return params;
}

std::vector<Piece> three_pieces() {
  return {{prompt_ids(1, 9), answer(6), 11},
          {prompt_ids(2, 7), answer(5), 22},
          {prompt_ids(3, 11), answer(8), 33}};
}

StageRequest begin(uint64_t key, const Piece& piece, bool resumable = true) {
  StageRequest request = make_request(key, piece.ids, piece.params);
  request.seed = piece.seed;
  request.wants_payload = true;
  request.input.resumable = resumable;
  return request;
}

StageSegment further(uint64_t key, const Piece& piece, int32_t number, bool last) {
  StageSegment segment;
  segment.key = RequestKey(key);
  segment.input.payload.token_ids = piece.ids;
  segment.input.resumable = !last;
  segment.sampling_params = piece.params;
  segment.seed = piece.seed;
  segment.segment = number;
  return segment;
}

// What each segment put out; the engine is stepped by hand.
class Session {
 public:
  explicit Session(EngineHarness& harness) : harness_(harness) {}

  void step() {
    std::vector<StageOutput> outputs;
    harness_.engine->step(outputs);
    for (StageOutput& output : outputs) {
      auto& segments = results[output.key.value];
      const auto at = static_cast<size_t>(output.segment);
      if (segments.size() <= at) segments.resize(at + 1);
      if (output.finished) EXPECT_TRUE(output.segment_finished || !output.error.ok());
      finished[output.key.value] += output.finished ? 1 : 0;
      output.finished = output.segment_finished || output.finished;
      collect(output, segments[at]);
    }
  }
  void run_until_idle() {
    for (int i = 0; harness_.engine->has_runnable_work() && i < 20000; ++i) step();
    EXPECT_FALSE(harness_.engine->has_runnable_work());
  }

  std::map<uint64_t, std::vector<Collected>> results;
  std::map<uint64_t, int> finished;

 private:
  EngineHarness& harness_;
};

// The last piece's answer to a prompt of all pieces and the answers between them.
Collected as_one_prompt(const std::vector<Piece>& pieces, const std::vector<Collected>& answers) {
  EngineHarness harness;
  Piece whole = pieces.back();
  whole.ids.clear();
  for (size_t i = 0; i < pieces.size(); ++i) {
    whole.ids.insert(whole.ids.end(), pieces[i].ids.begin(), pieces[i].ids.end());
    if (i + 1 == pieces.size()) break;
    whole.ids.insert(whole.ids.end(), answers[i].tokens.begin(), answers[i].tokens.end());
  }
  EXPECT_TRUE(harness.engine->admit(begin(0, whole, false)).ok());
  harness.run_until_idle();
  return harness.results[0];
}

TEST(Segments, AnswerLikeOnePromptAndComputeOnlyWhatIsNew) {
  EngineHarness harness;
  Session session(harness);
  const std::vector<Piece> pieces = three_pieces();
  ASSERT_TRUE(harness.engine->admit(begin(5, pieces[0])).ok());
  session.run_until_idle();
  for (int32_t i = 1; i < 3; ++i) {
    EXPECT_EQ(session.finished[5], 0);
    const int64_t before = harness.model->rows_computed;
    ASSERT_TRUE(harness.engine->extend(further(5, pieces[static_cast<size_t>(i)], i, i == 2)).ok());
    session.run_until_idle();
    // The end of the answer before, the segment, and its own answer but for the last token.
    const auto& piece = pieces[static_cast<size_t>(i)];
    EXPECT_EQ(harness.model->rows_computed - before,
              1 + std::ssize(piece.ids) + *piece.params.max_tokens - 1);
  }
  EXPECT_EQ(session.finished[5], 1);
  harness.expect_all_memory_free();
  const std::vector<Collected>& answers = session.results[5];
  ASSERT_EQ(answers.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(answers[i].reason, FinishReason::kLength);
    const std::vector<Piece> so_far(pieces.begin(), pieces.begin() + static_cast<int64_t>(i) + 1);
    const Collected one = as_one_prompt(so_far, answers);
    EXPECT_EQ(answers[i].tokens, one.tokens) << i;
    EXPECT_EQ(answers[i].codes, one.codes) << i;
    // The payload begins anew and tells of the whole context.
    EXPECT_EQ(answers[i].positions, one.positions) << i;
  }
}

TEST(Segments, ThatComeEarlyWaitForTheAnswerBeforeThem) {
  const std::vector<Piece> pieces = three_pieces();
  EngineHarness late_harness, early_harness;
  Session late(late_harness), early(early_harness);
  ASSERT_TRUE(late_harness.engine->admit(begin(0, pieces[0])).ok());
  late.run_until_idle();
  ASSERT_TRUE(late_harness.engine->extend(further(0, pieces[1], 1, false)).ok());
  late.run_until_idle();
  ASSERT_TRUE(late_harness.engine->extend(further(0, pieces[2], 2, true)).ok());
  late.run_until_idle();
  ASSERT_TRUE(early_harness.engine->admit(begin(0, pieces[0])).ok());
  ASSERT_TRUE(early_harness.engine->extend(further(0, pieces[1], 1, false)).ok());
  ASSERT_TRUE(early_harness.engine->extend(further(0, pieces[2], 2, true)).ok());
  early.run_until_idle();
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(early.results[0][i].tokens, late.results[0][i].tokens) << i;
  EXPECT_EQ(early.finished[0], 1);
}

TEST(Segments, WithoutAnswersTakeTheirInputInAtOnce) {
  EngineHarness harness;
  Session session(harness);
  std::vector<Piece> pieces = three_pieces();
  pieces[0].params.max_tokens = pieces[1].params.max_tokens = 0;
  ASSERT_TRUE(harness.engine->admit(begin(0, pieces[0])).ok());
  session.run_until_idle();
  EXPECT_EQ(harness.model->rows_computed, std::ssize(pieces[0].ids));
  ASSERT_TRUE(harness.engine->extend(further(0, pieces[1], 1, false)).ok());
  session.run_until_idle();
  EXPECT_EQ(harness.model->rows_computed, std::ssize(pieces[0].ids) + std::ssize(pieces[1].ids));
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(session.results[0][i].outputs, 1);
    EXPECT_TRUE(session.results[0][i].tokens.empty());
    EXPECT_TRUE(session.results[0][i].positions.empty());
  }
  ASSERT_TRUE(harness.engine->extend(further(0, pieces[2], 2, true)).ok());
  session.run_until_idle();
  const Collected one = as_one_prompt(pieces, session.results[0]);
  EXPECT_EQ(session.results[0][2].tokens, one.tokens);
  EXPECT_EQ(session.results[0][2].positions, one.positions);
}

TEST(Segments, WithoutInputAnswerWhatIsThereOrEndTheSession) {
  const std::vector<Piece> pieces = {{prompt_ids(1, 16), answer(0), 1}, {{}, answer(7), 2}};
  EngineHarness harness({}, small_options(20));
  Session session(harness);
  ASSERT_TRUE(harness.engine->admit(begin(0, pieces[0])).ok());
  session.run_until_idle();
  ASSERT_TRUE(harness.engine->extend(further(0, pieces[1], 1, false)).ok());
  session.run_until_idle();
  EXPECT_EQ(session.results[0][1].tokens, as_one_prompt(pieces, session.results[0]).tokens);
  ASSERT_TRUE(harness.engine->extend(further(0, {{}, answer(0), 3}, 2, true)).ok());
  session.run_until_idle();
  EXPECT_EQ(session.finished[0], 1);
  harness.expect_all_memory_free();
}

TEST(Segments, WholeResultsComeSegmentBySegment) {
  const std::vector<Piece> pieces = three_pieces();
  EngineHarness harness;
  Session session(harness);
  StageRequest request = begin(0, pieces[0]);
  request.streams_payload = false;
  ASSERT_TRUE(harness.engine->admit(std::move(request)).ok());
  ASSERT_TRUE(harness.engine->extend(further(0, pieces[1], 1, true)).ok());
  session.run_until_idle();
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(session.results[0][i].outputs, 1);
    EXPECT_EQ(std::ssize(session.results[0][i].tokens), *pieces[i].params.max_tokens);
  }
}

TEST(Segments, KeepTheirBlocksUntilSomebodyNeedsThem) {
  const std::vector<Piece> pieces = three_pieces();
  EngineHarness harness({}, small_options(12));
  Session session(harness);
  ASSERT_TRUE(harness.engine->admit(begin(0, pieces[0])).ok());
  session.run_until_idle();
  EXPECT_EQ(harness.engine->stats().kv_blocks_used, 4);
  // Another request takes all blocks; the session is computed again when it goes on.
  ASSERT_TRUE(harness.engine->admit(make_request(1, prompt_ids(8, 42), answer(3))).ok());
  EXPECT_TRUE(harness.engine->has_runnable_work());
  session.run_until_idle();
  EXPECT_EQ(session.results[1][0].tokens.size(), 3u);
  EXPECT_EQ(harness.engine->stats().preemptions, 1);
  ASSERT_TRUE(harness.engine->extend(further(0, pieces[1], 1, true)).ok());
  session.run_until_idle();
  const std::vector<Piece> two(pieces.begin(), pieces.begin() + 2);
  EXPECT_EQ(session.results[0][1].tokens, as_one_prompt(two, session.results[0]).tokens);
  harness.expect_all_memory_free();
}

TEST(Segments, ThatOverflowTheContextEndTheRequestWithASentence) {
  testing::FakeArOptions model;
  model.max_model_len = 24;
  EngineHarness harness(model);
  Session session(harness);
  ASSERT_TRUE(harness.engine->admit(begin(0, {prompt_ids(1, 9), answer(6), 1})).ok());
  ASSERT_TRUE(harness.engine->extend(further(0, {prompt_ids(2, 9), answer(6), 1}, 1, false)).ok());
  session.run_until_idle();
  EXPECT_EQ(session.finished[0], 1);
  EXPECT_EQ(
      session.results[0].back().error.message(),
      "The prompt has 24 tokens; the context holds 24, of which at least one is for the answer.");
  harness.expect_all_memory_free();
}

TEST(Segments, BehindTheLastOneAreRefused) {
  EngineHarness harness;
  ASSERT_TRUE(harness.engine->admit(begin(0, three_pieces()[0], false)).ok());
  const Status status = harness.engine->extend(further(0, three_pieces()[1], 1, true));
  EXPECT_EQ(status.message(), "Request r0 has had its last segment; it takes no further input.");
  EXPECT_TRUE(harness.engine->extend(further(9, three_pieces()[1], 1, true)).ok()) << "unknown key";
  SamplingParams none = answer(0);
  EXPECT_EQ(harness.engine->admit(make_request(1, {1}, none)).param(), "max_tokens");
}

TEST(Segments, AnAbortedSessionLetsGoOfEverything) {
  EngineHarness harness;
  Session session(harness);
  ASSERT_TRUE(harness.engine->admit(begin(0, three_pieces()[0])).ok());
  session.run_until_idle();
  ASSERT_TRUE(harness.engine->extend(further(0, three_pieces()[1], 1, false)).ok());
  session.step();
  ASSERT_TRUE(harness.engine->extend(further(0, three_pieces()[2], 2, true)).ok());
  EXPECT_TRUE(harness.engine->abort(RequestKey(0)));
  EXPECT_FALSE(harness.engine->has_runnable_work());
  harness.expect_all_memory_free();
}

// Sessions and single requests of several priorities that come, go on and are aborted at random in
// a small cache give the tokens of each alone.
class RandomSessions : public ::testing::TestWithParam<uint64_t> {
 protected:
  uint64_t draw(uint64_t below) { return counter_random(GetParam(), 5, count_++) % below; }
  std::vector<Piece> draw_pieces() {
    std::vector<Piece> pieces(1 + draw(4));
    for (Piece& piece : pieces) {
      piece.ids = prompt_ids(static_cast<int32_t>(draw(90)), static_cast<int32_t>(1 + draw(14)));
      piece.params = answer(static_cast<int32_t>(draw(8)));
      piece.seed = draw(1000);
    }
    pieces.back().params.max_tokens = static_cast<int32_t>(1 + draw(6));
    return pieces;
  }

 private:
  uint64_t count_ = 0;
};

std::vector<Collected> run_alone(const std::vector<Piece>& pieces) {
  EngineHarness harness;
  Session session(harness);
  EXPECT_TRUE(harness.engine->admit(begin(0, pieces[0], pieces.size() > 1)).ok());
  for (size_t i = 1; i < pieces.size(); ++i) {
    const auto number = static_cast<int32_t>(i);
    EXPECT_TRUE(harness.engine->extend(further(0, pieces[i], number, i + 1 == pieces.size())).ok());
  }
  session.run_until_idle();
  EXPECT_EQ(session.finished[0], 1);
  return session.results[0];
}

TEST_P(RandomSessions, GiveTheTokensOfEachAlone) {
  StageEngineOptions options = small_options(static_cast<int64_t>(28 + draw(20)));
  options.max_num_seqs = static_cast<int32_t>(1 + draw(5));
  options.max_num_batched_tokens = static_cast<int32_t>(4 + draw(30));
  options.enable_prefix_caching = draw(2) == 0;
  EngineHarness harness({}, options);
  Session session(harness);
  std::vector<std::vector<Piece>> sessions;
  std::vector<size_t> given;
  constexpr uint64_t kSessions = 12;
  size_t open = 0;
  for (int step = 0; step < 20000; ++step) {
    if (sessions.size() < kSessions && draw(4) == 0) {
      const uint64_t key = sessions.size();
      sessions.push_back(draw_pieces());
      StageRequest request = begin(key, sessions.back()[0], sessions.back().size() > 1);
      request.priority = static_cast<int32_t>(draw(3));
      ASSERT_TRUE(harness.engine->admit(std::move(request)).ok());
      given.push_back(1);
    }
    open = 0;
    for (uint64_t key = 0; key < sessions.size(); ++key) {
      if (given[key] == sessions[key].size()) continue;
      ++open;
      if (draw(10) != 0) continue;
      const auto number = static_cast<int32_t>(given[key]++);
      const bool last = given[key] == sessions[key].size();
      ASSERT_TRUE(
          harness.engine
              ->extend(further(key, sessions[key][static_cast<size_t>(number)], number, last))
              .ok());
    }
    session.step();
    if (sessions.size() == kSessions && open == 0 && !harness.engine->has_runnable_work()) break;
  }
  for (uint64_t key = 0; key < sessions.size(); ++key) {
    EXPECT_EQ(session.finished[key], 1) << key;
    const std::vector<Collected> alone = run_alone(sessions[key]);
    ASSERT_EQ(session.results[key].size(), alone.size());
    for (size_t i = 0; i < alone.size(); ++i) {
      EXPECT_EQ(session.results[key][i].tokens, alone[i].tokens) << key << " segment " << i;
      EXPECT_EQ(session.results[key][i].positions, alone[i].positions) << key << " segment " << i;
      EXPECT_EQ(session.results[key][i].codes, alone[i].codes) << key << " segment " << i;
    }
  }
  harness.expect_all_memory_free();
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomSessions, ::testing::Range<uint64_t>(0, 40));

}  // namespace
}  // namespace tutti::ar
