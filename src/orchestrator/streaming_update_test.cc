// add_streaming_update: segments of a resumable request, over a stage that answers each segment
// with the segment's own tokens.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <deque>
#include <thread>

#include "orchestrator/testing/engine_fixture.h"

namespace tutti::fake {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// One token a step; a segment with max_tokens 0 is taken in without an answer.
class EchoEngine final : public StageEngine {
 public:
  explicit EchoEngine(std::shared_ptr<Gate> gate) : gate_(std::move(gate)) {}

  Status admit(StageRequest request) override {
    if (gate_) gate_->pass();
    Sequence& sequence = sequences_[request.key.value];
    sequence.key = request.key;
    sequence.segments.push_back({request.key, std::move(request.input), request.sampling_params,
                                 request.seed, request.segment});
    return {};
  }
  Status extend(StageSegment segment) override {
    const auto found = sequences_.find(segment.key.value);
    if (found != sequences_.end()) found->second.segments.push_back(std::move(segment));
    return {};
  }
  void append(StageChunk) override {}
  std::optional<StageOutput> abort(RequestKey key) override {
    StageOutput held;
    held.key = key;
    return sequences_.erase(key.value) > 0 ? std::optional(held) : std::nullopt;
  }
  bool has_runnable_work() const override {
    for (const auto& [key, sequence] : sequences_) {
      if (!sequence.segments.empty()) return true;
    }
    return false;
  }
  void step(std::vector<StageOutput>& outputs) override {
    for (auto it = sequences_.begin(); it != sequences_.end();) {
      Sequence& sequence = it->second;
      bool over = false;
      if (!sequence.segments.empty()) over = step_one(sequence, outputs);
      it = over ? sequences_.erase(it) : std::next(it);
    }
  }
  EngineStats stats() const override { return {}; }

 private:
  struct Sequence {
    RequestKey key;
    std::deque<StageSegment> segments;
    size_t said = 0;
  };
  static bool step_one(Sequence& sequence, std::vector<StageOutput>& outputs) {
    StageSegment& segment = sequence.segments.front();
    const std::vector<int32_t>& ids = segment.input.payload.token_ids;
    const bool silent = segment.sampling_params.max_tokens == 0;
    StageOutput output;
    output.key = sequence.key;
    output.segment = segment.segment;
    if (!silent) output.delta.token_ids.push_back(ids[sequence.said++]);
    output.segment_finished = silent || sequence.said == ids.size();
    if (output.segment_finished) {
      output.finished = !segment.input.resumable;
      output.delta.finish_reason = silent ? FinishReason::kLength : FinishReason::kStop;
      sequence.said = 0;
      sequence.segments.pop_front();
    }
    const bool over = output.finished;
    outputs.push_back(std::move(output));
    return over;
  }

  const std::shared_ptr<Gate> gate_;
  std::map<uint64_t, Sequence> sequences_;
};

class StreamingUpdateTest : public EngineFixture {
 protected:
  void start_echo(EngineOptions options = {}, std::shared_ptr<Gate> gate = nullptr) {
    EngineParts parts = fake_parts({fake_spec("thinker", {}, "text")}, {}, 100);
    parts.stages[0].load = [gate](const ReportProgress&) {
      LoadedStage loaded;
      loaded.engine = std::make_unique<EchoEngine>(gate);
      loaded.max_prompt_tokens = 100;
      return Result<LoadedStage>(std::move(loaded));
    };
    start_parts(std::move(parts), std::move(options));
  }
  AddRequest resumable(const std::string& id, const std::string& text) {
    AddRequest request;
    request.request_id = id;
    request.prompt = TextPrompt{text};
    request.resumable = true;
    return request;
  }
  static StreamingUpdate update(const std::string& id, const std::string& text, bool last = false) {
    StreamingUpdate update;
    update.request_id = id;
    update.prompt = TextPrompt{text};
    update.resumable = !last;
    return update;
  }
  static StreamingUpdate listening(StreamingUpdate update) {
    update.sampling_params_list.resize(1);
    update.sampling_params_list[0].max_tokens = 0;
    return update;
  }
  void expect_update_refused(const StreamingUpdate& wrong, StatusCode code, const char* what) {
    const Status status = engine_->add_streaming_update(wrong);
    EXPECT_EQ(status.code(), code) << status.message();
    EXPECT_THAT(status.message(), HasSubstr(what));
  }
};

TEST_F(StreamingUpdateTest, EachSegmentIsAnsweredInItsTurn) {
  start_echo();
  ASSERT_TRUE(engine_->add_request(resumable("a", "ab")).ok());
  ASSERT_TRUE(engine_->add_streaming_update(update("a", "cd")).ok());
  ASSERT_TRUE(engine_->add_streaming_update(update("a", "e", true)).ok());
  EXPECT_THAT(read_until_end("a").tokens.at(0), ElementsAre('a', 'b', 'c', 'd', 'e'));
  EXPECT_EQ(seen_["a"].terminals, 1);
}

TEST_F(StreamingUpdateTest, OutputsSayWhichSegmentTheyAnswer) {
  start_echo();
  ASSERT_TRUE(engine_->add_request(resumable("a", "ab")).ok());
  ASSERT_TRUE(engine_->add_streaming_update(update("a", "cd", true)).ok());
  std::map<int32_t, std::vector<int32_t>> by_segment;
  for (bool finished = false; !finished;) {
    auto message = engine_->try_get_output(30);
    ASSERT_TRUE(message && *message);
    const auto& output = std::get<OutputMessage>(**message);
    auto& tokens = by_segment[output.segment];
    tokens.insert(tokens.end(), output.output.token_ids.begin(), output.output.token_ids.end());
    finished = output.finished;
  }
  EXPECT_THAT(by_segment.at(0), ElementsAre('a', 'b'));
  EXPECT_THAT(by_segment.at(1), ElementsAre('c', 'd'));
}

TEST_F(StreamingUpdateTest, ASegmentWithMaxTokensZeroIsTakenInWithoutAnAnswer) {
  start_echo();
  AddRequest first = resumable("a", "ab");
  first.sampling_params_list.resize(1);
  first.sampling_params_list[0].max_tokens = 0;
  ASSERT_TRUE(engine_->add_request(first).ok());
  ASSERT_TRUE(engine_->add_streaming_update(listening(update("a", "cd"))).ok());
  StreamingUpdate last = update("a", "ef", true);
  last.sampling_params_list.resize(1);
  ASSERT_TRUE(engine_->add_streaming_update(last).ok());
  EXPECT_THAT(read_until_end("a").tokens.at(0), ElementsAre('e', 'f'));
}

TEST_F(StreamingUpdateTest, TheLimitOfTokensHoldsForAllSegmentsTogether) {
  EngineOptions options;
  options.max_tokens_per_request = 5;
  start_echo(options);
  AddRequest first = resumable("a", "abc");
  first.sampling_params_list.resize(1);
  first.sampling_params_list[0].max_tokens = 3;
  ASSERT_TRUE(engine_->add_request(first).ok());
  ASSERT_TRUE(engine_->add_streaming_update(update("a", "de")).ok());
  expect_update_refused(update("a", "f"), StatusCode::kResourceExhausted,
                        "has used 5 tokens of the 5 that its answers may have");
  ASSERT_TRUE(engine_->add_streaming_update(listening(update("a", "g", true))).ok());
  EXPECT_THAT(read_until_end("a").tokens.at(0), ElementsAre('a', 'b', 'c', 'd', 'e'));
}

TEST_F(StreamingUpdateTest, TokensThatWereNotUsedAreThereForLaterSegments) {
  EngineOptions options;
  options.max_tokens_per_request = 5;
  start_echo(options);
  ASSERT_TRUE(engine_->add_request(resumable("a", "ab")).ok());  // up to 5
  while (seen_["a"].tokens[0].size() < 2) ASSERT_TRUE(read_one());
  ASSERT_TRUE(engine_->add_streaming_update(update("a", "c", true)).ok());
  EXPECT_THAT(read_until_end("a").tokens.at(0), ElementsAre('a', 'b', 'c'));
}

TEST_F(StreamingUpdateTest, ItsTimeOfArrivalIsChecked) {
  start_echo();
  ASSERT_TRUE(engine_->add_request(resumable("a", "ab")).ok());
  StreamingUpdate wrong = update("a", "c");
  for (const double time : {std::nan(""), -1.0}) {
    wrong.arrival_time = time;
    expect_update_refused(wrong, StatusCode::kInvalidArgument, "`arrival_time` is");
  }
}

// Every session's answers wait for a reader: there is a bound, as for requests.
TEST_F(StreamingUpdateTest, AnswersThatNobodyReadsAreBounded) {
  EngineOptions options;
  options.max_pending_updates = 4;
  start_echo(options);
  ASSERT_TRUE(engine_->add_request(resumable("a", "a")).ok());
  Status status;
  int given = 0;
  while (given < 1000) {
    status = engine_->add_streaming_update(update("a", "b"));
    // It may only be ahead of the engine.
    if (!status.ok() && status.message().find("to be read") != std::string::npos) break;
    given += status.ok();
  }
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_GT(status.retry_after_s(), 0);
  EXPECT_LE(given, 2 * 4 + 2);
  while (seen_["a"].tokens[0].size() < 3) ASSERT_TRUE(read_one());
  while (!engine_->add_streaming_update(update("a", "z", true)).ok()) ASSERT_TRUE(read_one());
  EXPECT_EQ(read_until_end("a").tokens.at(0).size(), static_cast<size_t>(given) + 2);
}

TEST_F(StreamingUpdateTest, SessionsHaveABoundOfTheirOwn) {
  EngineOptions options;
  options.max_sessions = 2;
  start_echo(options);
  ASSERT_TRUE(engine_->add_request(resumable("a", "a")).ok());
  ASSERT_TRUE(engine_->add_request(resumable("b", "b")).ok());
  const Status refused = engine_->add_request(resumable("c", "c"));
  EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.message(), HasSubstr("2 sessions are open"));
  EXPECT_GT(refused.retry_after_s(), 0);
  ASSERT_TRUE(engine_->add_streaming_update(update("a", "x", true)).ok());
  read_until_end("a");
  EXPECT_TRUE(engine_->add_request(resumable("c", "c")).ok());
}

TEST_F(StreamingUpdateTest, ChatSegmentsContinueTheConversation) {
  start_echo();
  const ChatPrompt turn{.messages = {ChatMessage::text("user", "hello")}};
  AddRequest first = resumable("a", "");
  first.prompt = turn;
  ASSERT_TRUE(engine_->add_request(first).ok());
  StreamingUpdate heard = listening(update("a", ""));
  heard.prompt = turn;
  ASSERT_TRUE(engine_->add_streaming_update(heard).ok());
  StreamingUpdate last = update("a", "", true);
  last.prompt = turn;
  last.sampling_params_list.resize(1);
  ASSERT_TRUE(engine_->add_streaming_update(last).ok());
  // The second closes the first one's answer and has none; the third goes on behind it.
  EXPECT_THAT(read_until_end("a").tokens.at(0), ElementsAre('u', '>', 'u', '>'));
}

TEST_F(StreamingUpdateTest, AChatSegmentAfterAnAnswerClosesItsTurn) {
  start_echo();
  const ChatPrompt turn{.messages = {ChatMessage::text("user", "hello")}};
  AddRequest first = resumable("a", "");
  first.prompt = turn;
  ASSERT_TRUE(engine_->add_request(first).ok());
  StreamingUpdate last = update("a", "", true);
  last.prompt = turn;
  ASSERT_TRUE(engine_->add_streaming_update(last).ok());
  EXPECT_THAT(read_until_end("a").tokens.at(0), ElementsAre('u', '>', '\n', 'u', '>'));
}

TEST_F(StreamingUpdateTest, AMessageThatIsLeftOpenGoesOnInTheNextSegment) {
  start_echo();
  const auto said = [](const char* role, bool open) {
    return ChatPrompt{.messages = {ChatMessage::text(role, "hello")},
                      .continue_final_message = open};
  };
  AddRequest first = resumable("a", "");
  first.prompt = said("user", true);
  first.sampling_params_list.resize(1);
  first.sampling_params_list[0].max_tokens = 0;
  ASSERT_TRUE(engine_->add_request(first).ok());
  StreamingUpdate wrong = listening(update("a", ""));
  wrong.prompt = said("system", false);
  expect_update_refused(wrong, StatusCode::kInvalidArgument,
                        "The first message is of 'system'; the one that was left open is of "
                        "'user'.");
  StreamingUpdate more = listening(update("a", ""));
  more.prompt = said("user", true);
  ASSERT_TRUE(engine_->add_streaming_update(more).ok());
  StreamingUpdate last = update("a", "", true);
  last.prompt = ChatPrompt{
      .messages = {ChatMessage::text("user", "bye"), ChatMessage::text("assistant", "good")}};
  last.sampling_params_list.resize(1);
  ASSERT_TRUE(engine_->add_streaming_update(last).ok());
  EXPECT_THAT(read_until_end("a").tokens.at(0), ElementsAre('+', 'a', '>'));
}

TEST_F(StreamingUpdateTest, AnUnknownOrFinishedIdIsNotFound) {
  start_echo();
  expect_update_refused(update("nobody", "x"), StatusCode::kNotFound, "no live request");
  ASSERT_TRUE(engine_->add_request(resumable("a", "ab")).ok());
  ASSERT_TRUE(engine_->add_streaming_update(update("a", "c", true)).ok());
  // Ended, though its terminal message has not been read.
  while (engine_->stats().finished == 0) std::this_thread::yield();
  expect_update_refused(update("a", "x"), StatusCode::kNotFound, "no live request");
  read_until_end("a");
  expect_update_refused(update("a", "x"), StatusCode::kNotFound, "no live request");
}

TEST_F(StreamingUpdateTest, NothingFollowsTheLastSegmentOrAPlainRequest) {
  const auto gate = std::make_shared<Gate>();
  start_echo({}, gate);
  AddRequest plain = resumable("plain", "ab");
  plain.resumable = false;
  ASSERT_TRUE(engine_->add_request(plain).ok());
  expect_update_refused(update("plain", "x"), StatusCode::kInvalidArgument,
                        "not begun as resumable");
  ASSERT_TRUE(engine_->add_request(resumable("a", "ab")).ok());
  ASSERT_TRUE(engine_->add_streaming_update(update("a", "c", true)).ok());
  expect_update_refused(update("a", "d"), StatusCode::kInvalidArgument, "last segment");
  gate->open();
  EXPECT_THAT(read_until_end("a").tokens.at(0), ElementsAre('a', 'b', 'c'));
}

TEST_F(StreamingUpdateTest, WrongUpdatesAreErrorsAtTheCallAndLeaveTheSessionAlone) {
  start_echo();
  ASSERT_TRUE(engine_->add_request(resumable("a", "ab")).ok());
  expect_update_refused(update("a", ""), StatusCode::kInvalidArgument, "empty");
  expect_update_refused(update("a", "throw", true), StatusCode::kInternal, "tokenizer broke");
  expect_update_refused(update("a", std::string(101, 'x')), StatusCode::kInvalidArgument,
                        "101 tokens");
  StreamingUpdate wrong = update("a", "c");
  wrong.sampling_params_list.resize(2);
  expect_update_refused(wrong, StatusCode::kInvalidArgument, "2 entries");
  wrong = update("a", "c");
  wrong.final_output_stage_ids = {1};
  expect_update_refused(wrong, StatusCode::kInvalidArgument, "`final_output_stage_ids` has 1");
  // The failed last segment was none.
  ASSERT_TRUE(engine_->add_streaming_update(update("a", "c", true)).ok());
  EXPECT_THAT(read_until_end("a").tokens.at(0), ElementsAre('a', 'b', 'c'));
}

TEST_F(StreamingUpdateTest, AnUpdateMustWantTheOutputsThatTheRequestBeganWith) {
  const auto gate = std::make_shared<Gate>();
  std::vector<FakeOptions> stages(3);
  stages[0] = gated(gate);
  start(stages);
  AddRequest mine = request("a", 5, {0});
  mine.resumable = true;
  ASSERT_TRUE(engine_->add_request(mine).ok());
  StreamingUpdate wrong = update("a", "x");
  wrong.final_output_stage_ids = {2};
  expect_update_refused(wrong, StatusCode::kInvalidArgument, "the request began with 0");
  gate->open();
}

TEST_F(StreamingUpdateTest, UpdatesThatWaitAreBounded) {
  const auto gate = std::make_shared<Gate>();
  EngineOptions options;
  options.max_pending_updates = 3;
  start_echo(options, gate);
  ASSERT_TRUE(engine_->add_request(resumable("a", "ab")).ok());
  gate->wait_for(1);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(engine_->add_streaming_update(update("a", "c")).ok());
  const Status status = engine_->add_streaming_update(update("a", "d"));
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_GT(status.retry_after_s(), 0);
  gate->open();
  // Room comes as segments are answered and their answers are read.
  std::vector<int32_t> tokens;
  while (!engine_->add_streaming_update(update("a", "e", true)).ok()) {
    const auto message = engine_->try_get_output(30);
    ASSERT_TRUE(message.ok() && *message) << "neither room nor an answer";
    const auto& more = std::get<OutputMessage>(**message).output.token_ids;
    tokens.insert(tokens.end(), more.begin(), more.end());
  }
  const std::vector<int32_t> rest = read_until_end("a").tokens.at(0);
  tokens.insert(tokens.end(), rest.begin(), rest.end());
  EXPECT_THAT(tokens, ElementsAre('a', 'b', 'c', 'c', 'c', 'e'));
}

TEST_F(StreamingUpdateTest, AsynchronousUpdatesKeepTheirOrder) {
  start_echo();
  std::atomic<int> ok{0};
  std::vector<int32_t> expected{'a'};
  engine_->add_request_async(resumable("a", "a"), [&](Status status) { ok += status.ok(); });
  for (int i = 0; i < 26; ++i) {
    const std::string text(1, static_cast<char>('a' + i));
    engine_->add_streaming_update_async(update("a", text, i == 25),
                                        [&](Status status) { ok += status.ok(); });
    expected.push_back('a' + i);
  }
  EXPECT_EQ(read_until_end("a").tokens.at(0), expected);
  engine_.reset();
  EXPECT_EQ(ok, 27);
}

TEST_F(StreamingUpdateTest, UpdatesOfARefusedRequestAreRefused) {
  start_echo();
  Answer<Status> added, updated;
  engine_->add_request_async(resumable("a", "throw"), added.done());
  engine_->add_streaming_update_async(update("a", "b"), updated.done());
  EXPECT_EQ(added.get().code(), StatusCode::kInternal);
  EXPECT_EQ(updated.get().code(), StatusCode::kNotFound);
  EXPECT_EQ(engine_->stats().accepted, 0);
}

TEST_F(StreamingUpdateTest, ASessionCanBeAborted) {
  start_echo();
  ASSERT_TRUE(engine_->add_request(resumable("a", "ab")).ok());
  ASSERT_TRUE(engine_->abort({"a"}).ok());
  EXPECT_EQ(read_until_end("a").finish_reason, FinishReason::kAbort);
  expect_update_refused(update("a", "x"), StatusCode::kNotFound, "no live request");
}

}  // namespace
}  // namespace tutti::fake
