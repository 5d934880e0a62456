#include "stages/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "stages/wire_messages.h"

namespace tutti {
namespace {

using testing::HasSubstr;

StagePayload some_payload() {
  StagePayload payload;
  payload.token_ids = {5, -1};
  payload.tensors["hidden"] = Tensor::from_vector<float>({1, 2, 3, 4, 5, 6}, {3, 2});
  payload.tensors["none"] = Tensor();
  payload.tensors["empty"] = Tensor::empty({0, 7}, DType::kBF16);
  return payload;
}

StageRequest full_request() {
  StageRequest request;
  request.key = RequestKey(77);
  request.request_id = "chat-7";
  request.input = {.payload = some_payload(),
                   .last = false,
                   .voice = "Ana",
                   .num_new_tokens_hint = 12,
                   .resumable = true};
  request.sampling_params.temperature = 0.25f;
  request.sampling_params.seed = 9;
  request.sampling_params.stop = {"end", ""};
  request.sampling_params.logit_bias = {{3, -1.5f}, {4, 2.0f}};
  request.seed = 1234567890123;
  request.priority = -3;
  request.lora_name = "pirate";
  request.reasoning_ended = true;
  request.segment = 2;
  return request;
}

// A message's bytes as they arrive in the other process.
struct Sent {
  std::shared_ptr<Storage> body;
  std::span<const std::byte> meta;
};
template <typename Message>
Sent send(const Message& message) {
  WireWriter writer;
  encode(writer, message);
  auto body = allocate_host(writer.body_bytes());
  writer.copy_body(body->data());
  return {body, {body->data(), writer.meta().size()}};
}

TEST(Wire, CommandsArriveAsTheyWere) {
  SubmitCommand submit{std::make_unique<StageRequest>(full_request()), {}, false};
  const TimePoint now = Clock::steady().now();
  submit.chunks.push_back({.from_stage = 1,
                           .payload = some_payload(),
                           .last = true,
                           .companion_role = "negative",
                           .sent = now});
  const StageCommand command = std::move(submit);
  const Sent sent = send(command);
  auto read = decode_to_worker(sent.meta, sent.body);
  ASSERT_TRUE(read.ok()) << read.error().message();
  const auto& back = std::get<SubmitCommand>(std::get<StageCommand>(*read));
  EXPECT_FALSE(back.complete);
  EXPECT_EQ(back.request->key, RequestKey(77));
  EXPECT_EQ(back.request->request_id, "chat-7");
  EXPECT_EQ(back.request->input.voice, "Ana");
  EXPECT_EQ(back.request->input.num_new_tokens_hint, 12);
  EXPECT_TRUE(back.request->input.resumable);
  EXPECT_EQ(back.request->sampling_params.temperature, 0.25f);
  EXPECT_EQ(back.request->sampling_params.stop, (std::vector<std::string>{"end", ""}));
  EXPECT_EQ(back.request->sampling_params.logit_bias.at(3), -1.5f);
  EXPECT_EQ(back.request->seed, 1234567890123u);
  EXPECT_EQ(back.request->reasoning_ended, true);
  ASSERT_EQ(back.chunks.size(), 1u);
  EXPECT_EQ(back.chunks[0].companion_role, "negative");
  EXPECT_EQ(back.chunks[0].sent, now);
  const Tensor& hidden = back.chunks[0].payload.tensors.at("hidden");
  EXPECT_EQ(hidden.shape(), Shape({3, 2}));
  EXPECT_EQ(hidden.data<float>()[5], 6.0f);
  EXPECT_FALSE(back.chunks[0].payload.tensors.at("none").defined());
  EXPECT_EQ(back.chunks[0].payload.tensors.at("empty").shape(), Shape({0, 7}));
}

TEST(Wire, EventsArriveAsTheyWere) {
  StageOutput output;
  output.key = RequestKey(3);
  output.delta.text = "Grüße";
  output.delta.logprobs = {{{1, -0.5f, 1}, {2, -1.0f, 2}}, {}};
  output.delta.audio = {{0.5f, -0.5f}, 24000};
  output.delta.finish_reason = FinishReason::kLength;
  output.error = resource_exhausted("Full.").with_param("prompt").with_retry_after(2.5);
  output.metrics.audio_s = 1.25;
  WorkerReport report;
  report.stats.kv_blocks_total = 99;
  OutputsEvent outputs;
  outputs.outputs.push_back(std::move(output));
  report.events.emplace_back(std::move(outputs));
  report.events.emplace_back(RpcEvent{4, std::string("{}")});
  report.events.emplace_back(RpcEvent{5, not_found("No such method.")});
  report.events.emplace_back(AbortedEvent{RequestKey(8), {}});
  report.events.emplace_back(DiedEvent{internal_error("A step broke.")});
  const Sent sent = send(FromWorker(std::move(report)));
  auto read = decode_from_worker(sent.meta, sent.body);
  ASSERT_TRUE(read.ok()) << read.error().message();
  const auto& back = std::get<WorkerReport>(*read);
  EXPECT_EQ(back.stats.kv_blocks_total, 99);
  ASSERT_EQ(back.events.size(), 5u);
  const StageOutput& first = std::get<OutputsEvent>(back.events[0]).outputs.at(0);
  EXPECT_EQ(first.delta.text, "Grüße");
  EXPECT_EQ(first.delta.logprobs[0][1].rank, 2);
  EXPECT_EQ(first.delta.audio.samples[1], -0.5f);
  EXPECT_EQ(first.delta.finish_reason, FinishReason::kLength);
  EXPECT_EQ(first.error.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(first.error.param(), "prompt");
  EXPECT_EQ(first.error.retry_after_s(), 2.5);
  EXPECT_EQ(first.metrics.audio_s, 1.25);
  EXPECT_EQ(*std::get<RpcEvent>(back.events[1]).result_json, "{}");
  EXPECT_EQ(std::get<RpcEvent>(back.events[2]).result_json.error().code(), StatusCode::kNotFound);
  EXPECT_EQ(std::get<AbortedEvent>(back.events[3]).key, RequestKey(8));
  EXPECT_EQ(std::get<DiedEvent>(back.events[4]).cause.message(), "A step broke.");
}

TEST(Wire, AMessageThatIsCutAnywhereIsAnError) {
  const StageCommand command = ChunkCommand{RequestKey(1), {.payload = some_payload()}, true};
  const Sent sent = send(command);
  for (size_t size = 0; size < sent.meta.size(); ++size) {
    EXPECT_FALSE(decode_to_worker(sent.meta.first(size), sent.body).ok()) << size;
  }
  std::vector<std::byte> longer(sent.meta.begin(), sent.meta.end());
  longer.push_back(std::byte{0});
  const auto read = decode_to_worker(longer, sent.body);
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(read.error().message(), HasSubstr("too many"));
}

TEST(Wire, TensorsOutsideTheMessageAreErrors) {
  const StageCommand command = ChunkCommand{RequestKey(1), {.payload = some_payload()}, true};
  const Sent sent = send(command);
  EXPECT_TRUE(decode_to_worker(sent.meta, sent.body).ok());
  auto shorter = allocate_host(sent.body->bytes() - kWireAlignment);
  std::memcpy(shorter->data(), sent.body->data(), shorter->bytes());
  EXPECT_THAT(decode_to_worker(sent.meta, shorter).error().message(), HasSubstr("tensor outside"));
  EXPECT_FALSE(decode_to_worker(sent.meta, nullptr).ok());
}

// Every byte of a message replaced by others: an error or another message, never a crash.
TEST(Wire, DamagedMessagesNeverCrash) {
  SubmitCommand submit{std::make_unique<StageRequest>(full_request()), {}, true};
  submit.chunks.push_back({.from_stage = 0, .payload = some_payload()});
  const StageCommand command = std::move(submit);
  const Sent sent = send(command);
  int errors = 0;
  for (size_t at = 0; at < sent.meta.size(); ++at) {
    for (const int value : {0, 1, 2, 127, 255}) {
      std::vector<std::byte> damaged(sent.meta.begin(), sent.meta.end());
      damaged[at] = static_cast<std::byte>(value);
      errors += !decode_to_worker(damaged, sent.body).ok();
      (void)decode_from_worker(damaged, sent.body);
    }
  }
  EXPECT_GT(errors, 100);
}

// Writes the fuzzer's corpus when asked to (TUTTI_WRITE_CORPUS names the folder).
TEST(Wire, Corpus) {
  const char* folder = std::getenv("TUTTI_WRITE_CORPUS");
  if (!folder) GTEST_SKIP() << "only on demand";
  const auto write = [&](const char* name, const auto& message) {
    const Sent sent = send(message);
    std::ofstream out(std::filesystem::path(folder) / name, std::ios::binary);
    out.put(static_cast<char>(sent.meta.size() & 255))
        .put(static_cast<char>(sent.meta.size() >> 8));
    out.write(reinterpret_cast<const char*>(sent.body->data()),
              static_cast<std::streamsize>(sent.body->bytes()));
  };
  SubmitCommand submit{std::make_unique<StageRequest>(full_request()), {}, true};
  submit.chunks.push_back({.from_stage = 0, .payload = some_payload()});
  write("submit.bin", StageCommand(std::move(submit)));
  write("chunk.bin", StageCommand(ChunkCommand{RequestKey(1), {.payload = some_payload()}, true}));
  write("rpc.bin", StageCommand(RpcCommand{1, "ping", "{}"}));
  write("hello.bin", ToWorker(WorkerHello{1, 2, "spec"}));
  WorkerReport report;
  OutputsEvent outputs;
  outputs.outputs.emplace_back().payload = some_payload();
  outputs.outputs.back().delta.logprobs = {{{1, -0.5f, 1}}};
  report.events.emplace_back(std::move(outputs));
  report.events.emplace_back(RpcEvent{5, not_found("No such method.")});
  report.events.emplace_back(AbortedEvent{RequestKey(8), {}});
  write("report.bin", FromWorker(std::move(report)));
  write("progress.bin", FromWorker(WorkerProgress{0.5, "reading"}));
}

}  // namespace
}  // namespace tutti
