#include "stages/in_proc_stage_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "base/dual_queue.h"
#include "base/thread.h"
#include "stages/stage_pool.h"
#include "stages/testing/fake_stage_engine.h"

namespace tutti {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Long enough that only a hang runs into it.
Deadline soon() { return Deadline::after(30); }

class InProcStageClientTest : public testing::Test {
 protected:
  std::unique_ptr<InProcStageClient> make(StageEngineFactory factory, size_t capacity = 64) {
    graph_ = std::make_shared<const StageGraph>(StageGraph::build(fake::omni_specs()).value());
    return std::make_unique<InProcStageClient>(
        StageId(0), ReplicaId(0), graph_, std::move(factory),
        [this](StageEvent event) { events_.push(std::move(event), Deadline::never()); },
        InProcOptions{.mailbox_capacity = capacity});
  }
  static StageEngineFactory fake_factory(fake::FakeOptions options = {}) {
    return [options]() -> Result<std::unique_ptr<StageEngine>> {
      return std::unique_ptr<StageEngine>(
          std::make_unique<fake::FakeStageEngine>(0, true, options));
    };
  }
  StageCommand submit(uint64_t key, int32_t tokens) {
    auto request = std::make_unique<StageRequest>();
    request->key = RequestKey(key);
    request->sampling_params.max_tokens = tokens;
    return SubmitCommand{std::move(request), {}, true};
  }
  template <typename Body>
  Body next() {
    auto event = events_.pop(soon());
    if (!event || !std::holds_alternative<Body>(event->body)) {
      ADD_FAILURE() << "another event, or none";
      return Body{};
    }
    return std::get<Body>(std::move(event->body));
  }
  std::vector<StageOutput> outputs_until_finished() {
    std::vector<StageOutput> all;
    while (all.empty() || !all.back().finished) {
      auto event = next<OutputsEvent>();
      if (event.outputs.empty()) break;
      for (auto& output : event.outputs) all.push_back(std::move(output));
    }
    return all;
  }

  std::shared_ptr<const StageGraph> graph_;
  DualQueue<StageEvent> events_{1024};
};

TEST_F(InProcStageClientTest, RunsARequestToItsEnd) {
  std::string name;
  auto client = make([&, inner = fake_factory()] {
    name = thread_name();
    return inner();
  });
  next<ReadyEvent>();
  EXPECT_EQ(name, "stage-0-0");
  StageCommand command = submit(7, 3);
  ASSERT_TRUE(client->try_send(command));
  std::vector<int32_t> tokens;
  for (const StageOutput& output : outputs_until_finished()) {
    EXPECT_EQ(output.key, RequestKey(7));
    tokens.insert(tokens.end(), output.delta.token_ids.begin(), output.delta.token_ids.end());
  }
  EXPECT_EQ(tokens, fake::expected_tokens(*graph_, 0, RequestKey(7), 3));
  EXPECT_EQ(client->stats().running, 0);
  EXPECT_GE(client->stats().steps, 3);
  client->stop();
  EXPECT_TRUE(client->join(soon()));
}

TEST_F(InProcStageClientTest, FailedLoadIsReported) {
  auto client = make([]() -> Result<std::unique_ptr<StageEngine>> {
    return not_found("The file 'x.safetensors' is missing.");
  });
  EXPECT_THAT(next<DiedEvent>().cause.message(), HasSubstr("x.safetensors"));
  auto thrower = make(
      []() -> Result<std::unique_ptr<StageEngine>> { throw std::runtime_error("out of luck"); });
  EXPECT_THAT(next<DiedEvent>().cause.message(), HasSubstr("out of luck"));
}

TEST_F(InProcStageClientTest, ErrorsAndExceptionsOfARequestStayItsOwn) {
  for (const auto fault :
       {fake::Fault::kAdmitError, fake::Fault::kAdmitThrow, fake::Fault::kStepError}) {
    fake::FakeOptions options;
    options.fault = [fault](RequestKey key, int32_t) {
      return key.value == 1 ? fault : fake::Fault::kNone;
    };
    auto client = make(fake_factory(options));
    next<ReadyEvent>();
    StageCommand bad = submit(1, 3);
    ASSERT_TRUE(client->try_send(bad));
    const auto failed = outputs_until_finished();
    EXPECT_FALSE(failed.back().error.ok());
    StageCommand good = submit(2, 3);
    ASSERT_TRUE(client->try_send(good));
    EXPECT_TRUE(outputs_until_finished().back().error.ok());
  }
}

class ThrowingEngine final : public StageEngine {
 public:
  Status admit(StageRequest) override {
    has_work_ = true;
    return {};
  }
  void append(StageChunk) override {}
  std::optional<StageOutput> abort(RequestKey) override { return std::nullopt; }
  bool has_runnable_work() const override { return has_work_; }
  void step(std::vector<StageOutput>&) override { throw std::runtime_error("wild pointer"); }
  EngineStats stats() const override { return {}; }

 private:
  bool has_work_ = false;
};

TEST_F(InProcStageClientTest, AStepThatThrowsKillsTheReplica) {
  auto client = make([]() -> Result<std::unique_ptr<StageEngine>> {
    return std::unique_ptr<StageEngine>(std::make_unique<ThrowingEngine>());
  });
  next<ReadyEvent>();
  StageCommand command = submit(1, 1);
  ASSERT_TRUE(client->try_send(command));
  EXPECT_THAT(next<DiedEvent>().cause.message(), HasSubstr("wild pointer"));
  StageCommand late = submit(2, 1);
  EXPECT_TRUE(client->try_send(late)) << "a dead replica swallows commands";
}

TEST_F(InProcStageClientTest, AFullMailboxRefusesAndTellsWhenThereIsRoom) {
  DualQueue<int> gate(1);
  auto client = make(
      [&, inner = fake_factory()] {
        gate.pop(soon());
        return inner();
      },
      /*capacity=*/2);
  StagePool pool([&](ReplicaId, uint32_t) { return std::move(client); }, 1);
  StageReplica& replica = pool.replica(ReplicaId(0));
  for (uint64_t key = 1; key <= 5; ++key) replica.send(submit(key, 1));
  EXPECT_EQ(replica.waiting_commands(), 3u);
  gate.close();
  int finished = 0;
  while (finished < 5) {
    auto event = events_.pop(soon());
    ASSERT_TRUE(event.has_value());
    if (std::holds_alternative<RoomEvent>(event->body)) replica.flush();
    if (auto* outputs = std::get_if<OutputsEvent>(&event->body)) {
      for (auto& output : outputs->outputs) finished += output.finished;
    }
  }
  EXPECT_EQ(replica.waiting_commands(), 0u);
}

TEST_F(InProcStageClientTest, AnswersControlMethods) {
  auto client = make(fake_factory());
  next<ReadyEvent>();
  StageCommand ping = RpcCommand{5, "ping", ""}, other = RpcCommand{6, "fly", ""};
  ASSERT_TRUE(client->try_send(ping));
  ASSERT_TRUE(client->try_send(other));
  const auto answer = events_.pop(soon());
  EXPECT_EQ(std::get<RpcEvent>(answer->body).ticket, 5u);
  EXPECT_TRUE(std::get<RpcEvent>(answer->body).result_json.ok());
  const auto error = events_.pop(soon());
  EXPECT_EQ(std::get<RpcEvent>(error->body).ticket, 6u);
  EXPECT_THAT(std::get<RpcEvent>(error->body).result_json.error().message(), HasSubstr("ping"));
}

TEST_F(InProcStageClientTest, AReplicaThatDoesNotEndIsLeftBehind) {
  auto gate = std::make_shared<DualQueue<int>>(1);
  auto client = make([gate, inner = fake_factory()] {
    gate->pop(Deadline::never());
    return inner();
  });
  client->stop();
  EXPECT_FALSE(client->join(Deadline::after(0.01)));
  client.reset();
  gate->close();
}

}  // namespace
}  // namespace tutti
