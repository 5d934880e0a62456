#include "serve/transcription_format.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace tutti::serve {
namespace {

namespace json = boost::json;

Answer heard() {
  Answer answer;
  answer.text = "The boat is late.";
  answer.token_ids = {7, 8};
  answer.logprobs = {{{7, -0.5F, 1}}, {{8, -1.5F, 1}}};
  return answer;
}

std::string body(TranscriptionFormat format, const Answer& answer, double duration_s = 3661.25) {
  const Transcription transcription{answer, duration_s, 0.5F, "en"};
  return transcription_response(format, transcription, {}).body;
}

TEST(TranscriptionFormat, NamesAreOpenAIs) {
  EXPECT_EQ(transcription_format("srt"), TranscriptionFormat::kSrt);
  EXPECT_EQ(transcription_format("verbose_json"), TranscriptionFormat::kVerboseJson);
  EXPECT_FALSE(transcription_format("SRT"));
}

TEST(TranscriptionFormat, SubtitlesLastAsLongAsTheSound) {
  EXPECT_EQ(body(TranscriptionFormat::kSrt, heard()),
            "1\n00:00:00,000 --> 01:01:01,250\nThe boat is late.\n");
  EXPECT_EQ(body(TranscriptionFormat::kVtt, heard(), 59.9996),
            "WEBVTT\n\n00:00:00.000 --> 00:01:00.000\nThe boat is late.\n");
}

TEST(TranscriptionFormat, SilenceHasNoSegments) {
  const Answer silence;
  EXPECT_EQ(body(TranscriptionFormat::kSrt, silence), "");
  EXPECT_EQ(body(TranscriptionFormat::kVtt, silence), "WEBVTT\n");
  const json::value verbose = json::parse(body(TranscriptionFormat::kVerboseJson, silence));
  EXPECT_TRUE(verbose.at("segments").as_array().empty());
}

TEST(TranscriptionFormat, VerboseJsonTellsOfTheSegment) {
  const json::value verbose = json::parse(body(TranscriptionFormat::kVerboseJson, heard(), 1.5));
  EXPECT_EQ(verbose.at("duration").as_double(), 1.5);
  EXPECT_EQ(verbose.at("language").as_string(), "en");
  EXPECT_EQ(verbose.at("task").as_string(), "transcribe");
  const json::value& segment = verbose.at("segments").at(0);
  EXPECT_EQ(segment.at("end").as_double(), 1.5);
  EXPECT_EQ(segment.at("text").as_string(), "The boat is late.");
  EXPECT_EQ(segment.at("avg_logprob").as_double(), -1.0);
  EXPECT_EQ(segment.at("temperature").to_number<double>(), 0.5);
  EXPECT_EQ(segment.at("tokens").as_array().size(), 2U);
  const json::value plain = json::parse(body(TranscriptionFormat::kJson, heard()));
  EXPECT_FALSE(plain.as_object().contains("duration"));
}

}  // namespace
}  // namespace tutti::serve
