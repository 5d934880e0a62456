// The state machine, message by message. Here: resumable requests.
#include "orchestrator/testing/orchestrator_fixture.h"

namespace tutti {
namespace {

using testing::ElementsAre;

class SessionTest : public OrchestratorTest {
 protected:
  void add_session(uint64_t key, std::vector<int32_t> wanted,
                   std::optional<int32_t> max_tokens = {}) {
    auto session = request(key, std::move(wanted));
    session->segment = segment(key, 0, /*last=*/false, max_tokens);
    add(std::move(session));
  }
};

TEST_F(SessionTest, SegmentsGoToTheEntryInOrderAndRunOneByOneBehindIt) {
  start(true);
  add_session(1, {0, 2});
  EXPECT_TRUE(client(0).last_request.input.resumable);
  update(1, segment(1, 1));
  EXPECT_THAT(log_[0], ElementsAre("submit complete", "segment 1 last"));
  put_out(0, segment_end(1, {5}));
  put_out(0, output(1, {6}));
  EXPECT_THAT(log_[1], ElementsAre("submit 5 complete")) << "segment 1 waits for its turn";
  put_out(1, output(1, {50}, true));
  EXPECT_THAT(log_[1], ElementsAre("submit 5 complete", "submit 6"));
  EXPECT_EQ(client(1).last_request.segment, 1);
  EXPECT_EQ(client(1).last_request.seed, 1101u);
  put_out(0, output(1, {7}, true));
  EXPECT_EQ(log_[1].back(), "chunk 7 complete");
  put_out(1, output(1, {60}, true));
  EXPECT_THAT(log_[2], ElementsAre("submit 50 complete")) << "nor do they mix further down";
  put_out(2, output(1, {500}, true));
  EXPECT_EQ(log_[2].back(), "submit 60 complete");
  put_out(2, output(1, {600}, true));
  EXPECT_THAT(said(), ElementsAre("r1/0: 5", "r1/0.1: 6", "r1/0.1: 7", "r1 metrics 1", "r1/2: 500",
                                  "r1/2.1: 600!"));
  EXPECT_EQ(orchestrator_->live_requests(), 0u);
}

TEST_F(SessionTest, TheSegmentsDoneAreCounted) {
  start(true);
  auto session = request(1, {0});
  session->segment = segment(1, 0, false);
  const auto handle = std::make_shared<RequestHandle>();
  session->handle = handle;
  add(std::move(session));
  put_out(0, segment_end(1, {5}));
  EXPECT_EQ(handle->segments_done.load(), 1);
  EXPECT_THAT(said(), ElementsAre("r1/0: 5"));
  EXPECT_EQ(last_output_.output.finish_reason, FinishReason::kStop);
  EXPECT_FALSE(last_output_.finished);
}

TEST_F(SessionTest, ASegmentWithoutAnswerReachesNobody) {
  start(true);
  add_session(1, {2}, /*max_tokens=*/0);
  put_out(0, segment_end(1, {}));
  EXPECT_TRUE(log_[1].empty());
  update(1, segment(1, 1, false));
  put_out(0, segment_end(1, {5}));
  EXPECT_THAT(log_[1], ElementsAre("submit 5 complete"));
  EXPECT_EQ(client(1).last_request.segment, 1);
  put_out(1, output(1, {6}, true));
  put_out(2, output(1, {7}, true));
  EXPECT_THAT(said(), ElementsAre("r1/2.1: 7"));
  update(1, segment(1, 2, /*last=*/true, /*max_tokens=*/0));
  EXPECT_THAT(said(), ElementsAre("r1/2.2:!")) << "the last has no answer: all is said";
  EXPECT_EQ(log_[0].back(), "abort");
  acknowledge(0, 1);
  EXPECT_EQ(orchestrator_->live_requests(), 0u);
}

TEST_F(SessionTest, UpdatesWaitWithTheirRequestInTheQueue) {
  options_.max_live_requests = 1;
  start(true);
  add(1, {0});
  add_session(2, {0});
  update(2, segment(2, 1));
  EXPECT_EQ(orchestrator_->early_updates(), 1u);
  put_out(0, output(1, {1}, true));
  EXPECT_EQ(log_[0].back(), "segment 1 last");
  EXPECT_EQ(orchestrator_->early_updates(), 0u);
  update(9, segment(9, 1));
  EXPECT_EQ(orchestrator_->early_updates(), 0u) << "nobody's";
}

TEST_F(SessionTest, ARetryReplaysAllSegments) {
  start(true, fake::omni_specs(), 2);
  add_session(1, {2});
  update(1, segment(1, 1, false));
  die(0, 0);
  EXPECT_THAT(log_[0], ElementsAre("submit complete", "segment 1", "submit complete", "segment 1"));
  update(1, segment(1, 2));
  EXPECT_EQ(log_[0].back(), "segment 2 last");
}

TEST_F(SessionTest, ASessionThatEndsEarlyTakesNothingMore) {
  start(true);
  add_session(1, {0, 2});
  update(1, segment(1, 1, false));
  put_out(0, output(1, {5}, true));  // the context is full
  put_out(1, output(1, {6}, true));
  put_out(2, output(1, {7}, true));
  EXPECT_THAT(said(), ElementsAre("r1/0: 5", "r1 metrics 1", "r1/2: 7!"));
}

// Two entries: one fills its context while the other already answers a later segment. What that one
// has begun is answered, by it alone, and it hears that nothing more comes.
TEST_F(SessionTest, AnEntryThatEndsEarlyLeavesTheOtherWhatItHasBegun) {
  start(true, {fake::fake_spec("ear", {}, "text"), fake::fake_spec("eye", {}),
               fake::fake_spec("mouth", {0, 1}, "audio")});
  add_session(1, {0, 2});
  update(1, segment(1, 1, false));
  update(1, segment(1, 2, false));
  update(1, segment(1, 3, false));
  put_out(1, segment_end(1, {10}));
  put_out(1, output(1, {11}));  // of segment 1
  put_out(0, output(1, {5}, true));
  EXPECT_EQ(log_[2].back(), "chunk 5 complete");
  put_out(2, output(1, {20}, true));
  EXPECT_EQ(log_[2].back(), "submit 11");
  EXPECT_NE(log_[1].back(), "abort") << "it answers a segment still";
  put_out(1, segment_end(1, {12}));
  EXPECT_EQ(log_[1].back(), "abort") << "segments 2 and 3 are dropped";
  EXPECT_EQ(log_[2].back(), "chunk 12 complete");
  acknowledge(1, 1);
  put_out(2, output(1, {21}, true));
  EXPECT_THAT(said(), ElementsAre("r1/0: 5", "r1/2: 20", "r1/2.1: 21!"));
  EXPECT_EQ(orchestrator_->live_requests(), 0u);
}

TEST_F(SessionTest, AnEntryThatWaitsForInputIsLetGoWhenTheOtherEndsEarly) {
  start(true, {fake::fake_spec("ear", {}, "text"), fake::fake_spec("eye", {}, "text")});
  add_session(1, {0, 1});
  put_out(1, segment_end(1, {10}));
  put_out(0, output(1, {5}, true));
  EXPECT_EQ(log_[1].back(), "abort");
  acknowledge(1, 1);
  EXPECT_THAT(said(), ElementsAre("r1/1: 10", "r1/0: 5!"));
  EXPECT_EQ(orchestrator_->live_requests(), 0u);
}

TEST_F(SessionTest, AnIdleSessionHoldsNoPlace) {
  options_.max_live_requests = 2;
  start(true);
  add_session(1, {0});
  add_session(2, {0});
  auto urgent = request(3, {0});
  urgent->priority = -100;
  add(std::move(urgent));
  EXPECT_EQ(log_[0].size(), 2u) << "both are busy";
  put_out(0, segment_end(1, {5}));
  EXPECT_EQ(log_[0].size(), 3u);
  EXPECT_EQ(client(0).last_request.key, RequestKey(3));
  put_out(0, segment_end(2, {6}));
  EXPECT_EQ(orchestrator_->resting_sessions(), 2u);
  add(4, {0});
  EXPECT_EQ(client(0).last_request.key, RequestKey(4));
}

TEST_F(SessionTest, ItsNextSegmentQueuesInTheOrderOfPriority) {
  options_.max_live_requests = 1;
  start(true);
  add_session(1, {0});  // of priority 3
  put_out(0, segment_end(1, {5}));
  add(2, {0});
  for (const auto& [key, priority] : {std::pair(3, 2), std::pair(4, 4)}) {
    auto other = request(key, {0});
    other->priority = priority;
    add(std::move(other));
  }
  RequestSegment next = segment(1, 1, false);
  next.arrival_s = 7;
  update(1, std::move(next));
  update(1, segment(1, 2));
  EXPECT_EQ(orchestrator_->resting_sessions(), 1u);
  EXPECT_EQ(client(0).last_request.key, RequestKey(2));
  put_out(0, output(2, {6}, true));
  EXPECT_EQ(client(0).last_request.key, RequestKey(3)) << "of the smaller priority";
  put_out(0, output(3, {7}, true));
  EXPECT_EQ(log_[0].back(), "segment 2 last") << "before request 4";
  EXPECT_EQ(orchestrator_->resting_sessions(), 0u);
  put_out(0, segment_end(1, {8}));
  put_out(0, output(1, {9}, true));
  EXPECT_EQ(client(0).last_request.key, RequestKey(4));
  EXPECT_THAT(said(), ElementsAre("r1/0: 5", "r2/0: 6!", "r3/0: 7!", "r1/0.1: 8", "r1/0.2: 9!"));
}

TEST_F(SessionTest, ASessionThatWaitsForAPlaceCanEnd) {
  options_.max_live_requests = 1;
  options_.max_pending_updates = 2;
  start(true);
  for (const uint64_t key : {1, 2}) {
    add_session(key, {0});
    put_out(0, segment_end(key, {5}));
  }
  add(3, {0});
  update(1, segment(1, 1, false));
  for (int32_t i = 1; i < 5; ++i) update(2, segment(2, i, false));
  EXPECT_THAT(said(), ElementsAre("r1/0: 5", "r2/0: 5", "r2 error")) << "too many updates";
  orchestrator_->handle(AbortMessage{{RequestKey(1)}});
  acknowledge(0, 1);
  acknowledge(0, 2);
  EXPECT_THAT(said(), ElementsAre("r1/0:!"));
  EXPECT_EQ(orchestrator_->live_requests(), 1u);
  EXPECT_EQ(orchestrator_->resting_sessions(), 0u);
}

TEST_F(SessionTest, ARetryOfAnIdleSessionQueuesForAPlace) {
  options_.max_live_requests = 1;
  start(true, fake::omni_specs(), 2);
  add_session(1, {2}, /*max_tokens=*/0);
  put_out(0, segment_end(1, {}));
  add(2, {0});
  die(0, 0);
  EXPECT_EQ(orchestrator_->resting_sessions(), 1u);
  const size_t before = log_[0].size();
  put_out(0, output(2, {6}, true), 1);
  EXPECT_EQ(log_[0].size(), before + 1);
  EXPECT_EQ(client(0, 1).last_request.key, RequestKey(1));
}

TEST_F(SessionTest, TooManyUpdatesEndTheRequest) {
  options_.max_pending_updates = 2;
  start(true);
  add_session(1, {0});
  update(1, segment(1, 1, false));
  update(1, segment(1, 2, false));
  EXPECT_THAT(said(), ElementsAre());
  update(1, segment(1, 3, false));
  EXPECT_THAT(said(), ElementsAre("r1 error"));
  EXPECT_EQ(last_error_.code(), StatusCode::kResourceExhausted);
}

TEST_F(SessionTest, WithoutAsyncChunkEachSegmentIsHandedOverWhole) {
  start(false);
  add_session(1, {0, 2});
  put_out(0, output(1, {5}));
  EXPECT_TRUE(log_[1].empty());
  put_out(0, segment_end(1, {6}));
  EXPECT_THAT(log_[1], ElementsAre("submit 5 6 complete"));
}

}  // namespace
}  // namespace tutti
