#include "orchestrator/output_buffer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tutti {
namespace {

using testing::ElementsAre;

OutputMessage output(const std::string& id, int32_t stage, int32_t token, bool finished = false) {
  OutputMessage message;
  message.request_id = id;
  message.stage_id = stage;
  message.output.text = std::to_string(token);
  message.output.token_ids = {token};
  message.output.audio = {.samples = {static_cast<float>(token)}, .sample_rate = 24000};
  message.finished = finished;
  if (finished) message.output.finish_reason = FinishReason::kStop;
  return message;
}

std::vector<std::string> drain(OutputQueue& queue, OutputBuffer& buffer) {
  std::vector<std::string> seen;
  while (auto message = queue.try_pop()) {
    if (const auto* m = std::get_if<OutputMessage>(&*message)) {
      seen.push_back(m->request_id + "/" + std::to_string(m->stage_id) + ":" + m->output.text +
                     (m->finished ? "!" : ""));
    } else {
      seen.push_back(std::get<StageMetricsMessage>(*message).request_id + " metrics");
    }
    buffer.flush();
  }
  return seen;
}

TEST(OutputBuffer, PassesOnWhileThereIsRoom) {
  OutputQueue queue(8);
  OutputBuffer buffer(queue);
  buffer.emit(RequestKey(1), output("a", 0, 1));
  buffer.emit(RequestKey(1), output("a", 0, 2));
  EXPECT_THAT(drain(queue, buffer), ElementsAre("a/0:1", "a/0:2"));
}

TEST(OutputBuffer, MergesPerRequestAndStageWhileTheQueueIsFull) {
  OutputQueue queue(1);
  OutputBuffer buffer(queue);
  for (int32_t i = 1; i <= 4; ++i) {
    buffer.emit(RequestKey(1), output("a", 0, i));
    buffer.emit(RequestKey(2), output("b", 0, i));
    buffer.emit(RequestKey(1), output("a", 2, i));
  }
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_EQ(buffer.waiting(), 3u);
  EXPECT_THAT(drain(queue, buffer), ElementsAre("a/0:1", "b/0:1234", "a/2:1234", "a/0:234"));
  EXPECT_EQ(buffer.waiting(), 0u);
}

TEST(OutputBuffer, MergedMessagesKeepEveryPart) {
  OutputQueue queue(1);
  OutputBuffer buffer(queue);
  buffer.emit(RequestKey(9), output("x", 0, 0));
  buffer.emit(RequestKey(1), output("a", 0, 1));
  buffer.emit(RequestKey(1), output("a", 0, 2, true));
  queue.try_pop();
  buffer.flush();
  const auto message = std::get<OutputMessage>(*queue.try_pop());
  EXPECT_THAT(message.output.token_ids, ElementsAre(1, 2));
  EXPECT_THAT(message.output.audio.samples, ElementsAre(1.f, 2.f));
  EXPECT_EQ(message.output.audio.sample_rate, 24000);
  EXPECT_EQ(message.output.finish_reason, FinishReason::kStop);
  EXPECT_TRUE(message.finished);
}

TEST(OutputBuffer, TheTerminalMessageComesLast) {
  OutputQueue queue(1);
  OutputBuffer buffer(queue);
  buffer.emit(RequestKey(9), output("x", 0, 0));
  buffer.emit(RequestKey(1), output("a", 2, 1));
  buffer.emit(RequestKey(1), output("a", 0, 2));
  buffer.emit(RequestKey(1), StageMetricsMessage{"a", 1, 0, {}});
  buffer.emit(RequestKey(1), output("a", 2, 3, true));
  EXPECT_THAT(drain(queue, buffer), ElementsAre("x/0:0", "a/0:2", "a metrics", "a/2:13!"));
}

TEST(OutputBuffer, FlushAllIgnoresTheCapacity) {
  OutputQueue queue(1);
  OutputBuffer buffer(queue);
  buffer.emit(RequestKey(1), output("a", 0, 1));
  buffer.emit(RequestKey(2), output("b", 0, 1));
  buffer.emit(RequestKey(3), output("c", 0, 1));
  buffer.flush_all();
  EXPECT_EQ(queue.size(), 3u);
}

}  // namespace
}  // namespace tutti
