#include "apps/bench_serve/summary.h"

#include <gtest/gtest.h>

namespace tutti::bench {
namespace {

TEST(Summary, PercentilesAreThoseOfNumpy) {
  const std::vector<double> values{1, 2, 4, 8};
  EXPECT_DOUBLE_EQ(percentile(values, 0), 1);
  EXPECT_DOUBLE_EQ(percentile(values, 50), 3);
  EXPECT_DOUBLE_EQ(percentile(values, 90), 6.8);
  EXPECT_DOUBLE_EQ(percentile(values, 100), 8);
  EXPECT_DOUBLE_EQ(percentile(std::vector<double>{5}, 99), 5);
}

TEST(Summary, DistributionsDoNotNeedOrder) {
  const double wanted[] = {25, 75};
  const Distribution d = distribution({8, 1, 4, 2}, wanted);
  EXPECT_EQ(d.count, 4);
  EXPECT_DOUBLE_EQ(d.mean, 3.75);
  EXPECT_DOUBLE_EQ(d.median, 3);
  EXPECT_DOUBLE_EQ(d.max, 8);
  EXPECT_NEAR(d.std, 2.680951, 1e-6);
  EXPECT_EQ(d.percentiles, (std::vector<double>{1.75, 5}));
  EXPECT_EQ(distribution({}, wanted).count, 0);
}

RequestRecord completed(double begin_s, double e2el_s) {
  RequestRecord r;
  r.outcome = Outcome::kCompleted;
  r.begin_s = begin_s;
  r.e2el_s = e2el_s;
  return r;
}

const MetricRow* row(const Summary& summary, const std::string& key) {
  for (const MetricRow& r : summary.rows) {
    if (r.key == key) return &r;
  }
  return nullptr;
}

TEST(Summary, CountsWhatCameOfTheRequests) {
  std::vector<RequestRecord> records{completed(0, 2), completed(1, 2), completed(2, 1), {}, {}, {}};
  records[0].ttft_s = 0.5;
  records[0].text_end_s = 1.5;
  records[0].output_tokens = 11;
  records[0].itls_s = {0.25f, 0.75f};
  records[1].audio_s = 4;
  records[1].ttfa_s = 1;
  records[2].audio_s = 1;
  records[2].underrun_s = 0.5;
  records[3].outcome = records[4].outcome = Outcome::kFailed;
  records[3].error = records[4].error = "full";
  records[3].begin_s = 0.5;
  records[3].e2el_s = 2.25;  // until 2.75
  const Summary s = summarize(records, 5, {99});
  EXPECT_EQ(s.completed, 3);
  EXPECT_EQ(s.failed, 2);
  EXPECT_EQ(s.unfinished, 1);
  EXPECT_EQ(s.errors, (std::map<std::string, int64_t>{{"full", 2}}));
  EXPECT_EQ(s.audio_streams, 2);
  EXPECT_EQ(s.continuous_streams, 1);
  // The first request ends as the third begins.
  EXPECT_EQ(s.max_concurrent_requests, 3);
  EXPECT_DOUBLE_EQ(s.per_second(static_cast<double>(s.completed)), 0.6);
  EXPECT_DOUBLE_EQ(row(s, "ttft")->values.mean, 500);
  EXPECT_DOUBLE_EQ(row(s, "tpot")->values.mean, 100);
  EXPECT_EQ(row(s, "itl")->values.count, 2);
  EXPECT_DOUBLE_EQ(row(s, "audio_rtf")->values.mean, 0.75);
  EXPECT_DOUBLE_EQ(row(s, "audio_underrun")->values.max, 500);
  EXPECT_EQ(row(s, "e2el")->values.count, 3);
  EXPECT_EQ(row(s, "audio_ttfp"), nullptr);
  EXPECT_EQ(s.good, 3);  // nothing was asked of them
  const GoodputLimit quick[] = {{GoodputLimit::Metric::kE2e, 1500}};
  EXPECT_EQ(summarize(records, 5, {99}, quick).good, 1);
}

}  // namespace
}  // namespace tutti::bench
