#include "tutti/sampling_params.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "tutti/output.h"

namespace tutti {
namespace {

struct Case {
  const char* param;
  std::function<void(SamplingParams&)> spoil;
};

TEST(SamplingParams, DefaultsAndEdgesAreValid) {
  SamplingParams params;
  EXPECT_TRUE(params.validate().ok());
  params.temperature = 0;
  params.top_k = -1;
  params.top_p = 1;
  params.min_p = 1;
  params.frequency_penalty = -2;
  params.presence_penalty = 2;
  params.logprobs = 20;
  params.max_tokens = 1;
  params.min_tokens = 1;
  params.logit_bias = {{0, -100.0f}, {7, 100.0f}};
  params.stop = {"\n"};
  EXPECT_TRUE(params.validate().ok());
}

TEST(SamplingParams, NamesTheFieldThatIsOutOfRange) {
  const Case cases[] = {
      {"temperature", [](SamplingParams& p) { p.temperature = -0.1f; }},
      {"temperature", [](SamplingParams& p) { p.temperature = NAN; }},
      {"temperature", [](SamplingParams& p) { p.temperature = INFINITY; }},
      {"top_k", [](SamplingParams& p) { p.top_k = -2; }},
      {"top_p", [](SamplingParams& p) { p.top_p = 0; }},
      {"top_p", [](SamplingParams& p) { p.top_p = 1.01f; }},
      {"min_p", [](SamplingParams& p) { p.min_p = -0.1f; }},
      {"repetition_penalty", [](SamplingParams& p) { p.repetition_penalty = 0; }},
      {"frequency_penalty", [](SamplingParams& p) { p.frequency_penalty = 2.1f; }},
      {"presence_penalty", [](SamplingParams& p) { p.presence_penalty = NAN; }},
      {"logprobs", [](SamplingParams& p) { p.logprobs = 21; }},
      {"logprobs", [](SamplingParams& p) { p.logprobs = -1; }},
      {"logit_bias", [](SamplingParams& p) { p.logit_bias = {{1, 101.0f}}; }},
      {"logit_bias", [](SamplingParams& p) { p.logit_bias = {{-1, 1.0f}}; }},
      {"max_tokens", [](SamplingParams& p) { p.max_tokens = 0; }},
      {"min_tokens", [](SamplingParams& p) { p.min_tokens = -1; }},
      {"stop_token_ids", [](SamplingParams& p) { p.stop_token_ids = {5, -5}; }},
      {"stop", [](SamplingParams& p) { p.stop = {"a", ""}; }},
  };
  for (const Case& c : cases) {
    SamplingParams params;
    c.spoil(params);
    const Status status = params.validate();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << c.param;
    EXPECT_EQ(status.param(), c.param);
    EXPECT_EQ(status.message().find('`'), 0u) << status.message();
    EXPECT_EQ(status.message().back(), '.') << status.message();
  }
}

TEST(SamplingParams, SaysWhatWasFoundAndWhatIsAllowed) {
  SamplingParams params;
  params.top_p = 1.5f;
  EXPECT_EQ(params.validate().message(), "`top_p` is 1.5; it must be larger than 0 and at most 1.");
  params = {};
  params.min_tokens = 5;
  params.max_tokens = 4;
  EXPECT_EQ(params.validate().message(), "`min_tokens` is 5; it must be at most `max_tokens`, 4.");
}

TEST(FinishReason, HasTheNamesOfTheApi) {
  EXPECT_EQ(finish_reason_name(FinishReason::kStop), "stop");
  EXPECT_EQ(finish_reason_name(FinishReason::kLength), "length");
  EXPECT_EQ(finish_reason_name(FinishReason::kAbort), "abort");
  EXPECT_EQ(finish_reason_name(FinishReason::kError), "error");
  EXPECT_EQ(finish_reason_name(FinishReason::kNone), "");
}

}  // namespace
}  // namespace tutti
