#include "apps/bench_serve/plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tutti::bench {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++found;
  return found;
}

RequestRecord completed(double begin_s, double ttft_s, double e2el_s) {
  RequestRecord r;
  r.outcome = Outcome::kCompleted;
  r.begin_s = begin_s;
  r.ttft_s = ttft_s;
  r.e2el_s = e2el_s;
  return r;
}

TEST(Plot, DrawsTheSeriesThatThereAre) {
  std::vector<RequestRecord> records;
  for (int i = 0; i < 10; ++i) records.push_back(completed(0.5 * i, 0.01 + 0.001 * i, 1.0 + i));
  records.emplace_back();  // never sent
  const std::string svg = latency_plot(records, "chat of <tiny> & more");
  EXPECT_THAT(svg, HasSubstr("chat of &lt;tiny&gt; &amp; more"));
  EXPECT_THAT(svg, HasSubstr("prefers-color-scheme: dark"));
  EXPECT_THAT(svg, HasSubstr("first token"));
  EXPECT_THAT(svg, Not(HasSubstr("first audible sound")));
  EXPECT_EQ(count(svg, "h0"), 20u);  // a dot for each latency
  EXPECT_EQ(count(svg, "class=\"dot "), 2u);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
}

TEST(Plot, OneRequestAndNoneAreDrawnToo) {
  EXPECT_THAT(latency_plot(std::vector{completed(0, 0, 0)}, "one"), Not(HasSubstr("nan")));
  EXPECT_THAT(latency_plot({}, "none"), HasSubstr("No request was completed."));
}

TEST(Plot, ManyRequestsStayASmallFile) {
  std::vector<RequestRecord> records;
  for (int i = 0; i < 100'000; ++i) records.push_back(completed(i, 1 + i % 7, 10 + i % 100));
  EXPECT_LT(latency_plot(records, "many").size(), 400'000u);
}

}  // namespace
}  // namespace tutti::bench
