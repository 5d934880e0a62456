#include "apps/bench_serve/measurement.h"

#include <gtest/gtest.h>

namespace tutti::bench {
namespace {

constexpr int32_t kRate = 1000;  // Hz: a sample is a millisecond
const std::vector<float> kQuiet(100, 0.0f);
const std::vector<float> kLoud(100, 0.5f);

TEST(Measurement, TimesText) {
  Measurement m;
  m.begin(10);
  m.text(10.5);
  m.text(10.75);
  m.text(11.5);
  m.usage(7, 5);
  m.end(12);
  const RequestRecord& r = m.record();
  EXPECT_EQ(r.outcome, Outcome::kCompleted);
  EXPECT_DOUBLE_EQ(r.ttft_s, 0.5);
  EXPECT_EQ(r.itls_s, (std::vector<float>{0.25f, 0.75f}));
  EXPECT_DOUBLE_EQ(r.tpot_s(), 0.25);  // one second for the four tokens after the first
  EXPECT_DOUBLE_EQ(r.e2el_s, 2);
  EXPECT_EQ(r.input_tokens, 7);
  EXPECT_EQ(r.ttfa_s, -1);
  EXPECT_FALSE(r.has_audio());
}

TEST(Measurement, CountsEventsWhereTheServerCountsNothing) {
  Measurement m;
  m.begin(0);
  m.text(1);
  m.usage(3, -1);
  m.end(2);
  EXPECT_EQ(m.record().output_tokens, 1);
  EXPECT_EQ(m.record().tpot_s(), -1);
}

TEST(Measurement, AudibleSoundIsLaterThanTheFirstPacket) {
  Measurement m;
  m.begin(0);
  m.audio(0.25, kQuiet, kRate);
  m.audio(0.30, std::vector<float>(100, 0.003f), kRate);  // below -50 dB
  EXPECT_EQ(m.record().ttfa_s, -1);
  m.audio(0.40, kLoud, kRate);
  m.end(0.45);
  EXPECT_DOUBLE_EQ(m.record().ttfp_s, 0.25);
  EXPECT_DOUBLE_EQ(m.record().ttfa_s, 0.40);
  EXPECT_NEAR(m.record().audio_s, 0.3, 1e-9);
  EXPECT_NEAR(m.record().underrun_s, 0, 1e-9);
  EXPECT_NEAR(m.record().audio_rtf(), 1.5, 1e-6);
}

TEST(Measurement, AClickBeforeTheSpeechIsNotAudible) {
  Measurement m;
  m.begin(0);
  std::vector<float> click = kQuiet;
  click[0] = 0.5f;
  m.audio(0.25, click, kRate);
  EXPECT_EQ(m.record().ttfa_s, -1);
  m.audio(0.35, kLoud, kRate);
  EXPECT_DOUBLE_EQ(m.record().ttfa_s, 0.35);
}

TEST(Measurement, AListenerWhoPlaysAtOnceWaitsForLateChunks) {
  Measurement m;
  m.begin(5);
  m.audio(6.00, kLoud, kRate);  // plays until 6.10
  m.audio(6.05, kLoud, kRate);  // in time: until 6.20
  EXPECT_EQ(m.record().underrun_s, 0);
  m.audio(6.50, kLoud, kRate);  // 0.30 s of silence, then until 6.60
  m.audio(6.70, kLoud, kRate);  // 0.10 s more
  m.end(6.71);
  EXPECT_NEAR(m.record().underrun_s, 0.4, 1e-9);
}

TEST(Measurement, AnEmptyAnswerIsAFailure) {
  Measurement m;
  m.begin(0);
  m.end(1);
  EXPECT_EQ(m.record().outcome, Outcome::kFailed);
  EXPECT_FALSE(m.record().error.empty());
}

}  // namespace
}  // namespace tutti::bench
