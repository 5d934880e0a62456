// The calls that never block: callbacks and Boost.Asio awaitables.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <thread>

#include "tutti/asio.h"

#include "orchestrator/testing/engine_fixture.h"

namespace tutti::fake {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

using AsyncCallsTest = EngineFixture;

TEST_F(AsyncCallsTest, AddRequestAsyncProcessesTheInputOnTheEnginesPool) {
  start();
  Answer<Status> good, bad, taken;
  engine_->add_request_async(request("a", 3), good.done());
  EXPECT_TRUE(good.get().ok());
  EXPECT_EQ(read_until_end("a").tokens.at(2).size(), 3u);
  AddRequest wrong = request("b", 1);
  wrong.prompt = TextPrompt{"throw"};
  engine_->add_request_async(wrong, bad.done());
  EXPECT_THAT(bad.get().message(), HasSubstr("tokenizer broke"));
  engine_->add_request_async(request("", 1), taken.done());
  EXPECT_EQ(taken.get().param(), "request_id");
}

TEST_F(AsyncCallsTest, AddRequestAsyncWaitsForRoomOnlyAsLongAsAsked) {
  const auto gate = std::make_shared<Gate>();
  EngineOptions options;
  options.request_queue_size = 1;
  options.max_live_requests = 1;
  start({gated(gate)}, options);
  ASSERT_TRUE(engine_->add_request(request("live", 1)).ok());
  gate->wait_for(1);
  ASSERT_TRUE(engine_->add_request(request("queued", 1)).ok());
  Answer<Status> at_once, later, patient;
  engine_->add_request_async(request("a", 1), at_once.done());
  const Status full = at_once.get();
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted);
  EXPECT_GT(full.retry_after_s(), 0);
  AddRequest waits = request("b", 1);
  waits.queue_timeout_s = 0.01;
  engine_->add_request_async(waits, later.done());
  EXPECT_EQ(later.get().code(), StatusCode::kResourceExhausted);
  waits = request("c", 1);
  waits.queue_timeout_s = 30;
  engine_->add_request_async(waits, patient.done());
  gate->open();
  EXPECT_TRUE(patient.get().ok());
  EXPECT_EQ(read_until_end("c").finish_reason, FinishReason::kStop);
}

TEST_F(AsyncCallsTest, ARequestThatIsAbortedBeforeItIsInTheQueueEnds) {
  const auto gate = std::make_shared<Gate>();
  EngineOptions options;
  options.request_queue_size = 1;
  options.max_live_requests = 1;
  start({gated(gate)}, options);
  ASSERT_TRUE(engine_->add_request(request("live", 1)).ok());
  gate->wait_for(1);
  ASSERT_TRUE(engine_->add_request(request("queued", 1)).ok());
  Answer<Status> patient;
  AddRequest waits = request("c", 1);
  waits.queue_timeout_s = 30;
  engine_->add_request_async(waits, patient.done());
  ASSERT_TRUE(engine_->abort({"c"}).ok());
  gate->open();
  EXPECT_TRUE(patient.get().ok());
  EXPECT_EQ(read_until_end("c").finish_reason, FinishReason::kAbort);
}

TEST_F(AsyncCallsTest, AbortAsyncCompletesWhenAllStagesHaveLetGo) {
  const auto gate = std::make_shared<Gate>();
  std::vector<FakeOptions> stages(3);
  stages[1] = gated(gate);
  start(stages);
  ASSERT_TRUE(engine_->add_request(request("a", 50)).ok());
  gate->wait_for(1);
  std::atomic<bool> answered{false};
  Answer<Result<std::vector<AbortResult>>> ended;
  engine_->abort_async({"a", "unknown"}, [&, done = ended.done()](auto result) {
    answered = true;
    done(std::move(result));
  });
  EXPECT_FALSE(answered) << "stage 1 still holds the request";
  gate->open();
  const auto results = ended.get();
  ASSERT_TRUE(results) << results.error().message();
  ASSERT_THAT(*results, SizeIs(1));
  EXPECT_EQ((*results)[0].request_id, "a");
  EXPECT_EQ((*results)[0].output.output.finish_reason, FinishReason::kAbort);
  EXPECT_EQ(read_until_end("a").terminals, 1) << "the terminal message comes besides";
  for (const StagePoolInfo& pool : engine_->stage_pools()) {
    EXPECT_EQ(pool.replicas[0].outstanding, 0);
    EXPECT_EQ(pool.replicas[0].running, 0);
  }
  Answer<Result<std::vector<AbortResult>>> nothing;
  engine_->abort_async({"unknown"}, nothing.done());
  EXPECT_THAT(nothing.get().value(), SizeIs(0));
}

TEST_F(AsyncCallsTest, AbortAsyncOfARequestOutsideTheQueueCompletesWhenItIsLetGo) {
  const auto gate = std::make_shared<Gate>();
  EngineOptions options;
  options.request_queue_size = 2;  // and as many may wait for room
  options.max_live_requests = 1;
  start({gated(gate)}, options);
  ASSERT_TRUE(engine_->add_request(request("live", 1)).ok());
  gate->wait_for(1);
  ASSERT_TRUE(engine_->add_request(request("queued", 1)).ok());
  ASSERT_TRUE(engine_->add_request(request("queued too", 1)).ok());
  Answer<Status> patient, impatient;
  AddRequest waits = request("c", 1);
  waits.queue_timeout_s = 30;
  engine_->add_request_async(waits, patient.done());
  waits = request("d", 1);
  waits.queue_timeout_s = 0.01;
  engine_->add_request_async(waits, impatient.done());
  std::atomic<bool> answered{false};
  Answer<Result<std::vector<AbortResult>>> ended;
  engine_->abort_async({"c", "d"}, [&, done = ended.done()](auto result) {
    answered = true;
    done(std::move(result));
  });
  EXPECT_FALSE(answered) << "'c' waits for room";
  gate->open();
  const auto results = ended.get();
  ASSERT_TRUE(results) << results.error().message();
  std::vector<std::string> ids;
  for (const AbortResult& result : *results) ids.push_back(result.request_id);
  std::sort(ids.begin(), ids.end());
  EXPECT_TRUE(patient.get().ok());
  std::vector<std::string> expected = {"c"};
  if (impatient.get().ok()) expected = {"c", "d"};
  EXPECT_EQ(ids, expected) << "each that was accepted";
  EXPECT_EQ(read_until_end("c").finish_reason, FinishReason::kAbort);
}

TEST_F(AsyncCallsTest, TryGetOutputAsyncIsToldOfEachMessageInOrder) {
  start();
  const std::string orchestrator = "orchestrator";
  Answer<std::string> over;
  // Each call asks for the next; the pool serves them one at a time.
  std::function<void(Result<EngineMessage>)> next = [&](Result<EngineMessage> message) {
    char name[16] = {};
    pthread_getname_np(pthread_self(), name, sizeof name);
    EXPECT_NE(name, orchestrator);
    if (!message) return;
    take(*message);
    if (seen_["a"].terminals == 0) return engine_->try_get_output_async(next);
    over.done()(name);
  };
  engine_->try_get_output_async(next);
  ASSERT_TRUE(engine_->add_request(request("a", 20)).ok());
  EXPECT_THAT(over.get(), HasSubstr("tutti-async"));
  const auto graph = StageGraph::build(omni_specs()).value();
  EXPECT_EQ(seen_["a"].tokens.at(0), expected_tokens(graph, 0, RequestKey(1), 20));
}

TEST_F(AsyncCallsTest, TryGetOutputAsyncServesManyWaitersInTheirOrder) {
  start();
  std::mutex mutex;
  std::vector<int> order;
  std::atomic<int> ended{0};
  constexpr int kWaiters = 20;
  for (int i = 0; i < kWaiters; ++i) {
    engine_->try_get_output_async([&, i](Result<EngineMessage> message) {
      const std::lock_guard lock(mutex);
      if (message) order.push_back(i);
      ++ended;
    });
  }
  ASSERT_TRUE(engine_->add_request(request("a", 8)).ok());
  while (engine_->stats().finished == 0) std::this_thread::yield();
  engine_.reset();
  EXPECT_EQ(ended, kWaiters) << "those without a message learn that the engine has stopped";
  ASSERT_GT(order.size(), 8u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_F(AsyncCallsTest, NotAnyNumberOfCallersWaitsForOutputs) {
  start();
  std::atomic<size_t> ended{0};
  constexpr size_t kMost = 4096;
  for (size_t i = 0; i < kMost; ++i) engine_->try_get_output_async([&](auto) { ++ended; });
  EXPECT_EQ(ended, 0u);
  Answer<Result<EngineMessage>> refused;
  engine_->try_get_output_async(refused.done());
  const Status status = refused.get().error();
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_GT(status.retry_after_s(), 0);
  engine_.reset();
  EXPECT_EQ(ended, kMost);
}

TEST_F(AsyncCallsTest, CollectiveRpcAsyncGivesLabelledResults) {
  start();
  Answer<Result<std::vector<RpcResult>>> answer;
  engine_->collective_rpc_async("ping", 30, "", "", {2, 0}, answer.done());
  const auto results = answer.get();
  ASSERT_TRUE(results);
  ASSERT_THAT(*results, SizeIs(2));
  EXPECT_EQ((*results)[0].stage_id, 0);
  EXPECT_EQ((*results)[1].stage_id, 2);
  EXPECT_EQ((*results)[1].result_json, "\"pong\"");
}

TEST_F(AsyncCallsTest, AfterShutdownEveryCallIsAnsweredWithAnError) {
  start();
  engine_->shutdown();
  Answer<Status> added, updated;
  Answer<Result<std::vector<AbortResult>>> aborted;
  Answer<Result<EngineMessage>> output;
  Answer<Result<std::vector<RpcResult>>> rpc;
  engine_->add_request_async(request("a", 1), added.done());
  engine_->add_streaming_update_async({}, updated.done());
  engine_->abort_async({"a"}, aborted.done());
  engine_->try_get_output_async(output.done());
  engine_->collective_rpc_async("ping", 1, "", "", {}, rpc.done());
  EXPECT_EQ(added.get().code(), StatusCode::kUnavailable);
  EXPECT_EQ(updated.get().code(), StatusCode::kUnavailable);
  EXPECT_EQ(aborted.get().error().code(), StatusCode::kUnavailable);
  EXPECT_EQ(output.get().error().code(), StatusCode::kUnavailable);
  EXPECT_EQ(rpc.get().error().code(), StatusCode::kUnavailable);
}

TEST_F(AsyncCallsTest, AwaitablesCompleteOnTheAwaitingExecutor) {
  start();
  boost::asio::io_context io;
  const std::thread::id loop = std::this_thread::get_id();
  bool done = false;
  const auto session = [](AsyncCallsTest& test, AsyncOmniEngine& engine, AddRequest request,
                          std::thread::id loop, bool& done) -> boost::asio::awaitable<void> {
    const Status added = co_await engine_add_request(engine, std::move(request));
    EXPECT_TRUE(added.ok());
    EXPECT_EQ(std::this_thread::get_id(), loop);
    while (test.seen_["a"].terminals == 0) {
      const Result<EngineMessage> message = co_await engine_next_output(engine);
      EXPECT_EQ(std::this_thread::get_id(), loop);
      if (!message) co_return;
      test.take(*message);
    }
    StreamingUpdate update;
    update.request_id = "a";
    const Status late = co_await engine_add_streaming_update(engine, std::move(update));
    EXPECT_EQ(late.code(), StatusCode::kNotFound);
    const auto pongs = co_await engine_collective_rpc(engine, "ping");
    EXPECT_THAT(*pongs, SizeIs(3));
    const auto aborted = co_await engine_abort(engine, {"a"});
    EXPECT_THAT(*aborted, SizeIs(0));
    EXPECT_EQ(std::this_thread::get_id(), loop);
    done = true;
  };
  boost::asio::co_spawn(io, session(*this, *engine_, request("a", 5), loop, done),
                        boost::asio::detached);
  io.run();
  EXPECT_TRUE(done);
  EXPECT_EQ(seen_["a"].tokens.at(2).size(), 5u);
}

}  // namespace
}  // namespace tutti::fake
