// One suite for every transport: what a replica does is the same as a thread of this process and as
// a worker process.
#include "stages/stage_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/dual_queue.h"
#include "stages/in_proc_stage_client.h"
#include "stages/process_stage_client.h"
#include "stages/testing/scripted_stage.h"

namespace tutti {
namespace {

using testing::HasSubstr;

// Long enough that only a hang runs into it.
Deadline soon() { return Deadline::after(60); }

// Sends as the pool does: what is refused waits for room.
class Outbox {
 public:
  explicit Outbox(StageClient& client) : client_(client) {}
  void send(StageCommand command) {
    if (!waiting_.empty() || !client_.try_send(command)) waiting_.push_back(std::move(command));
  }
  void flush() {
    while (!waiting_.empty() && client_.try_send(waiting_.front())) waiting_.pop_front();
  }
  size_t size() const { return waiting_.size(); }

 private:
  StageClient& client_;
  std::deque<StageCommand> waiting_;
};

struct Transport {
  const char* name;
  bool process;
  size_t view_min_bytes;  // of a worker's channel
};

class StageClientTest : public testing::TestWithParam<Transport> {
 protected:
  std::unique_ptr<StageClient> make(const std::string& script, int32_t stage = 0,
                                    size_t capacity = 64) {
    const StageEventSink sink = [this](StageEvent event) {
      events_.push(std::move(event), Deadline::never());
    };
    const WorkerProgressReport progress = [this](double fraction, const std::string& what) {
      if (fraction > 0) progress_.try_push(std::string(what));
      return true;
    };
    if (!GetParam().process) {
      return std::make_unique<InProcStageClient>(
          StageId(stage), ReplicaId(2), graph_,
          [=] { return fake::scripted_engine(stage, script, progress); }, sink,
          InProcOptions{.mailbox_capacity = capacity});
    }
    ProcessOptions options;
    options.program = TUTTI_FAKE_WORKER;
    options.load_spec = script;
    options.mailbox_capacity = capacity;
    options.channel.ring_bytes = 1 << 20;
    options.channel.view_min_bytes = GetParam().view_min_bytes;
    options.on_progress = progress;
    return std::make_unique<ProcessStageClient>(StageId(stage), ReplicaId(2), sink, options);
  }
  static StageCommand submit(uint64_t key, int32_t tokens) {
    auto request = std::make_unique<StageRequest>();
    request->key = RequestKey(key);
    request->sampling_params.max_tokens = tokens;
    return SubmitCommand{std::move(request), {}, true};
  }
  static StageCommand submit_payload(uint64_t key, StagePayload payload) {
    auto request = std::make_unique<StageRequest>();
    request->key = RequestKey(key);
    request->input.payload = std::move(payload);
    return SubmitCommand{std::move(request), {}, true};
  }
  static StageCommand chunk(uint64_t key, StagePayload payload, bool last) {
    return ChunkCommand{
        RequestKey(key), {.from_stage = 0, .payload = std::move(payload), .last = last}, last};
  }
  // Waits for room itself.
  void send(StageClient& client, StageCommand command) {
    while (!client.try_send(command)) next<RoomEvent>();
  }
  template <typename Body>
  Body next() {
    auto event = events_.pop(soon());
    if (!event || !std::holds_alternative<Body>(event->body)) {
      ADD_FAILURE() << "another event, or none";
      if (event && std::holds_alternative<DiedEvent>(event->body)) {
        ADD_FAILURE() << std::get<DiedEvent>(event->body).cause.message();
      }
      return wire_blank<Body>();
    }
    EXPECT_EQ(event->replica, ReplicaId(2));
    return std::get<Body>(std::move(event->body));
  }
  // All outputs until every one of `keys` sequences has finished; room events are skipped.
  std::map<uint64_t, std::vector<StageOutput>> collect(size_t sequences) {
    std::map<uint64_t, std::vector<StageOutput>> outputs;
    for (size_t finished = 0; finished < sequences;) {
      auto event = events_.pop(soon());
      if (!event || std::holds_alternative<DiedEvent>(event->body)) {
        ADD_FAILURE() << "the replica has died, or says nothing";
        break;
      }
      if (outbox_ && std::holds_alternative<RoomEvent>(event->body)) outbox_->flush();
      auto* body = std::get_if<OutputsEvent>(&event->body);
      if (!body) continue;
      for (StageOutput& output : body->outputs) {
        finished += output.finished;
        outputs[output.key.value].push_back(std::move(output));
      }
    }
    return outputs;
  }
  static std::vector<int32_t> tokens_of(const std::vector<StageOutput>& outputs) {
    std::vector<int32_t> tokens;
    for (const StageOutput& output : outputs) {
      tokens.insert(tokens.end(), output.delta.token_ids.begin(), output.delta.token_ids.end());
    }
    return tokens;
  }
  std::string gate() const {
    return testing::TempDir() + "tutti_gate_" + std::to_string(getpid()) + "_" +
           (GetParam().process ? "p" : "t");
  }
  void open_gate() const { std::ofstream(gate()) << "open"; }
  void SetUp() override { std::filesystem::remove(gate()); }
  void TearDown() override { std::filesystem::remove(gate()); }

  const std::shared_ptr<const StageGraph> graph_ = fake::scripted_graph();
  DualQueue<StageEvent> events_{4096};
  DualQueue<std::string> progress_{64};
  Outbox* outbox_ = nullptr;
};

TEST_P(StageClientTest, RunsRequestsToTheirEndInOrder) {
  auto client = make("tokens_per_step=2");
  next<ReadyEvent>();
  for (uint64_t key = 1; key <= 6; ++key) send(*client, submit(key, 7));
  auto outputs = collect(6);
  for (uint64_t key = 1; key <= 6; ++key) {
    EXPECT_EQ(tokens_of(outputs[key]), fake::expected_tokens(*graph_, 0, RequestKey(key), 7));
    EXPECT_EQ(outputs[key].back().delta.finish_reason, FinishReason::kStop);
  }
  EXPECT_EQ(client->stats().running, 0);
  EXPECT_GE(client->stats().steps, 4);
  client->stop();
  EXPECT_TRUE(client->join(soon()));
}

TEST_P(StageClientTest, ReportsTheProgressOfLoading) {
  auto client = make("progress");
  next<ReadyEvent>();
  EXPECT_EQ(progress_.pop(soon()), "reading half of it");
}

TEST_P(StageClientTest, AFailedLoadIsReported) {
  auto client = make("fail_load");
  const Status cause = next<DiedEvent>().cause;
  EXPECT_EQ(cause.code(), StatusCode::kNotFound);
  EXPECT_THAT(cause.message(), HasSubstr("x.safetensors"));
  auto thrower = make("throw_load");
  EXPECT_THAT(next<DiedEvent>().cause.message(), HasSubstr("out of luck"));
}

TEST_P(StageClientTest, ErrorsAndExceptionsOfARequestStayItsOwn) {
  for (const char* fault : {"admit_error", "admit_throw", "step_error"}) {
    auto client = make(std::string("fault=") + fault);
    next<ReadyEvent>();
    send(*client, submit(1, 3));
    send(*client, submit(2, 3));
    auto outputs = collect(2);
    EXPECT_FALSE(outputs[1].back().error.ok()) << fault;
    EXPECT_FALSE(outputs[1].back().error.message().empty());
    EXPECT_TRUE(outputs[2].back().error.ok()) << fault;
    EXPECT_EQ(tokens_of(outputs[2]), fake::expected_tokens(*graph_, 0, RequestKey(2), 3));
  }
}

TEST_P(StageClientTest, AStepThatThrowsKillsTheReplica) {
  auto client = make("throwing_step");
  next<ReadyEvent>();
  send(*client, submit(1, 1));
  EXPECT_THAT(next<DiedEvent>().cause.message(), HasSubstr("wild pointer"));
  for (uint64_t key = 2; key < 200; ++key) {
    StageCommand late = submit(key, 1);
    ASSERT_TRUE(client->try_send(late)) << "a dead replica swallows commands";
  }
  EXPECT_EQ(events_.size(), 0u) << "nothing follows DiedEvent";
}

TEST_P(StageClientTest, ManySmallChunksArriveInOrder) {
  constexpr int kChunks = 3000;
  auto client = make("tokens_per_step=64", 1);
  next<ReadyEvent>();
  Outbox outbox(*client);
  outbox_ = &outbox;
  auto request = std::make_unique<StageRequest>();
  request->key = RequestKey(5);
  outbox.send(SubmitCommand{std::move(request), {}, false});
  std::vector<int32_t> expected;
  for (int32_t i = 0; i < kChunks; ++i) {
    StagePayload payload;
    payload.token_ids = {i};
    expected.push_back(fake::mapped_token(1, i));
    outbox.send(chunk(5, std::move(payload), i + 1 == kChunks));
  }
  EXPECT_EQ(tokens_of(collect(1)[5]), expected);
  EXPECT_EQ(outbox.size(), 0u);
}

TEST_P(StageClientTest, AFullMailboxRefusesAndTellsWhenThereIsRoom) {
  auto client = make("tokens_per_step=8 gate=" + gate(), 0, /*capacity=*/2);
  Outbox outbox(*client);
  outbox_ = &outbox;
  uint64_t sent = 0;
  // A worker's socket takes some hundred more than the mailbox.
  while (outbox.size() < 3 && sent < 20000) outbox.send(submit(++sent, 1));
  ASSERT_EQ(outbox.size(), 3u);
  open_gate();
  EXPECT_EQ(collect(sent).size(), sent);
  EXPECT_EQ(outbox.size(), 0u);
}

TEST_P(StageClientTest, AbortsAreAnsweredAlsoOfUnknownKeys) {
  auto client = make("step_ms=1");
  next<ReadyEvent>();
  send(*client, submit(1, 1 << 20));
  send(*client, AbortCommand{RequestKey(1)});
  send(*client, AbortCommand{RequestKey(99)});
  std::vector<uint64_t> aborted;
  while (aborted.size() < 2) {
    auto event = events_.pop(soon());
    ASSERT_TRUE(event.has_value());
    if (const auto* body = std::get_if<AbortedEvent>(&event->body)) {
      aborted.push_back(body->key.value);
    } else {
      EXPECT_TRUE(aborted.empty()) << "nothing of a sequence follows its AbortedEvent";
    }
  }
  EXPECT_EQ(aborted, (std::vector<uint64_t>{1, 99}));
}

TEST_P(StageClientTest, AnswersControlMethodsBesideRequests) {
  auto client = make("step_ms=1");
  next<ReadyEvent>();
  send(*client, submit(1, 1 << 20));
  send(*client, RpcCommand{5, "ping", ""});
  send(*client, RpcCommand{6, "fly", ""});
  std::vector<RpcEvent> answers;
  while (answers.size() < 2) {
    auto event = events_.pop(soon());
    ASSERT_TRUE(event.has_value());
    if (auto* body = std::get_if<RpcEvent>(&event->body)) answers.push_back(std::move(*body));
  }
  EXPECT_EQ(answers[0].ticket, 5u);
  EXPECT_TRUE(answers[0].result_json.ok());
  EXPECT_EQ(answers[1].ticket, 6u);
  ASSERT_FALSE(answers[1].result_json.ok());
  EXPECT_THAT(answers[1].result_json.error().message(), HasSubstr("ping"));
}

TEST_P(StageClientTest, TensorsOfEverySizeAndKindComeBackAsTheyWere) {
  auto client = make("echo");
  next<ReadyEvent>();
  // Floats: in a packet, in the ring, as a view of it, beyond a quarter of it, beyond all of it.
  for (const int64_t count : {0, 1, 100, 5000, 40000, 70000, 400000, 3000000}) {
    StagePayload payload;
    payload.token_ids = {1, 2, 3};
    Tensor values = Tensor::empty({count}, DType::kF32);
    for (int64_t i = 0; i < count; ++i) values.data<float>()[i] = static_cast<float>(i % 977);
    payload.tensors["values"] = values;
    payload.tensors["none"] = Tensor();
    payload.tensors["ids"] = Tensor::from_vector<int64_t>({7, 8, 9, 10}, {2, 2});
    // A view whose rows are apart from each other.
    payload.tensors["columns"] =
        Tensor::from_vector<float>({0, 1, 2, 3, 4, 5, 6, 7}, {2, 4}).columns(1, 3);
    send(*client, submit_payload(static_cast<uint64_t>(count), std::move(payload)));
    auto outputs = collect(1)[static_cast<uint64_t>(count)];
    ASSERT_EQ(outputs.size(), 1u);
    StagePayload& back = outputs[0].payload;
    EXPECT_EQ(back.token_ids, (std::vector<int32_t>{1, 2, 3}));
    ASSERT_EQ(back.tensors.size(), 4u);
    EXPECT_FALSE(back.tensors["none"].defined());
    EXPECT_EQ(back.tensors["ids"].dtype(), DType::kI64);
    EXPECT_EQ(back.tensors["ids"].data<int64_t>()[3], 10);
    const Tensor columns = back.tensors["columns"].clone();
    EXPECT_EQ(columns.shape(), Shape({2, 2}));
    EXPECT_EQ(columns.data<float>()[2], 5);
    const Tensor& returned = back.tensors["values"];
    ASSERT_EQ(returned.shape(), values.shape());
    if (count > 0)
      EXPECT_EQ(std::memcmp(returned.raw_data(), values.raw_data(), values.bytes()), 0);
  }
}

TEST_P(StageClientTest, HeldTensorsDoNotHoldUpOthers) {
  auto client = make("echo");
  next<ReadyEvent>();
  // Together far more than a ring; all are kept until the end.
  std::vector<StageOutput> held;
  for (uint64_t key = 1; key <= 60; ++key) {
    StagePayload payload;
    payload.tensors["t"] = Tensor::zeros({32 * 1024});
    payload.tensors["t"].data<float>()[0] = static_cast<float>(key);
    send(*client, submit_payload(key, std::move(payload)));
    held.push_back(std::move(collect(1)[key].at(0)));
  }
  for (uint64_t key = 1; key <= 60; ++key) {
    EXPECT_EQ(held[key - 1].payload.tensors["t"].data<float>()[0], static_cast<float>(key));
  }
  client->stop();
  EXPECT_TRUE(client->join(soon()));
  client.reset();
  EXPECT_EQ(held[7].payload.tensors["t"].data<float>()[0], 8.0f) << "tensors outlive the replica";
}

TEST_P(StageClientTest, ManyLargeChunksAtOnceAllArrive) {
  auto client = make("echo", 1, /*capacity=*/8);
  next<ReadyEvent>();
  Outbox outbox(*client);
  outbox_ = &outbox;
  constexpr int kChunks = 100;
  for (int i = 0; i < kChunks; ++i) {
    StagePayload payload;
    payload.tensors["t"] = Tensor::zeros({25000});
    payload.tensors["t"].data<float>()[24999] = static_cast<float>(i);
    outbox.send(chunk(3, std::move(payload), i + 1 == kChunks));
  }
  const auto outputs = collect(1)[3];
  ASSERT_EQ(outputs.size(), static_cast<size_t>(kChunks));
  for (int i = 0; i < kChunks; ++i) {
    EXPECT_EQ(outputs[i].payload.tensors.at("t").data<float>()[24999], static_cast<float>(i));
  }
}

TEST_P(StageClientTest, StopsWhileBusyAndWhileLoading) {
  auto busy = make("step_ms=1");
  next<ReadyEvent>();
  send(*busy, submit(1, 1 << 20));
  next<OutputsEvent>();
  busy->stop();
  EXPECT_TRUE(busy->join(soon()));
  auto loading = make("gate=" + gate());
  loading->stop();
  if (!GetParam().process) open_gate();
  EXPECT_TRUE(loading->join(soon()));
  while (auto event = events_.try_pop()) {
    EXPECT_FALSE(std::holds_alternative<DiedEvent>(event->body)) << "a stop is no death";
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, StageClientTest,
                         testing::Values(Transport{"Thread", false, 0},
                                         Transport{"ProcessCopies", true, SIZE_MAX},
                                         Transport{"ProcessViews", true, 100'000}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace tutti
