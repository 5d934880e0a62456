#include "apps/bench_serve/goodput.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tutti::bench {
namespace {

using ::testing::HasSubstr;
using Metric = GoodputLimit::Metric;

RequestRecord spoken() {
  RequestRecord r;
  r.outcome = Outcome::kCompleted;
  r.ttft_s = 0.1;
  r.text_end_s = 0.3;  // 20 ms per token after the first
  r.output_tokens = 11;
  r.ttfa_s = 0.25;
  r.audio_s = 2;
  r.e2el_s = 1;
  return r;
}

bool keeps_all(const RequestRecord& record, const std::vector<std::string>& limits) {
  const auto parsed = parse_goodput(limits, Backend::kChatOmni);
  EXPECT_TRUE(parsed.ok()) << parsed.error().message();
  return keeps(record, *parsed);
}

TEST(Goodput, ARequestIsGoodThatKeepsEveryLimit) {
  EXPECT_TRUE(keeps_all(spoken(), {}));
  EXPECT_TRUE(keeps_all(spoken(), {"ttft:101", "tpot:20.5", "ttfa:251", "e2e:1001"}));
  for (const char* broken : {"ttft:99", "tpot:19.5", "ttfa:249", "e2e:999", "e2el:999"}) {
    EXPECT_FALSE(keeps_all(spoken(), {broken})) << broken;
  }
  EXPECT_FALSE(keeps_all(spoken(), {"ttft:101", "e2e:999"}));
}

TEST(Goodput, WhatARequestDoesNotHaveItDoesNotKeep) {
  RequestRecord silent = spoken();
  silent.ttfa_s = -1;
  EXPECT_FALSE(keeps_all(silent, {"ttfa:100000"}));
  RequestRecord wordless = spoken();
  wordless.ttft_s = -1;
  wordless.output_tokens = 0;
  EXPECT_FALSE(keeps_all(wordless, {"ttft:100000"}));
  EXPECT_FALSE(keeps_all(wordless, {"tpot:100000"}));
  // One token has no time between tokens, which is no fault.
  RequestRecord short_answer = spoken();
  short_answer.output_tokens = 1;
  EXPECT_TRUE(keeps_all(short_answer, {"tpot:0.001"}));
}

TEST(Goodput, LimitsAreChecked) {
  const auto limits = parse_goodput({"e2el:1500", "tpot:2e1"}, Backend::kChat);
  ASSERT_TRUE(limits.ok());
  ASSERT_EQ(limits->size(), 2u);
  EXPECT_EQ(limits->at(0).metric, Metric::kE2e);
  EXPECT_EQ(goodput_name(Metric::kE2e), "e2e");
  EXPECT_EQ(limits->at(0).limit_ms, 1500);
  EXPECT_EQ(limits->at(1).limit_ms, 20);
  const auto refusal = [](const std::vector<std::string>& texts, Backend backend) {
    const auto parsed = parse_goodput(texts, backend);
    return parsed.ok() ? "" : parsed.error().message();
  };
  for (const char* text : {"", "ttft", "ttft:", "ttft:0", "ttft:-1", "ttft:x", "ttft:1x",
                           "ttft:inf", "ttft:nan", "itl:5", ":5"}) {
    EXPECT_THAT(refusal({text}, Backend::kChat), HasSubstr("it must be ttft:MS")) << text;
  }
  EXPECT_THAT(refusal({"e2e:1", "e2el:2"}, Backend::kChat), HasSubstr("has e2e twice"));
  EXPECT_THAT(refusal({"ttfa:1"}, Backend::kChat), HasSubstr("openai-chat have no speech"));
  EXPECT_THAT(refusal({"ttft:1"}, Backend::kSpeech), HasSubstr("openai-audio-speech have no text"));
  EXPECT_EQ(refusal({"ttfa:1"}, Backend::kSpeech), "");
  EXPECT_EQ(refusal({"ttft:1", "ttfa:1"}, Backend::kRealtime), "");
}

}  // namespace
}  // namespace tutti::bench
