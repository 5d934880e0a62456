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

// The words of the centred texts on the line `y`.
std::vector<std::string> words_at(const std::string& svg, const std::string& y) {
  std::vector<std::string> out;
  const std::string at = "y=\"" + y + "\" text-anchor=\"middle\">";
  for (size_t from = 0; (from = svg.find(at, from)) != std::string::npos;) {
    from += at.size();
    out.push_back(svg.substr(from, svg.find('<', from) - from));
  }
  return out;
}

TEST(Plot, TimeHasRoundMarksAndTheAxesNames) {
  const std::pair<double, std::vector<std::string>> cases[] = {
      {0.3625, {"0", "50 ms", "100 ms", "150 ms", "200 ms", "250 ms", "300 ms", "350 ms"}},
      {1, {"0", "200 ms", "400 ms", "600 ms", "800 ms", "1 s"}},
      {64, {"0", "10 s", "20 s", "30 s", "40 s", "50 s", "60 s"}},
      {900, {"0", "200 s", "400 s", "600 s", "800 s"}}};
  for (const auto& [end_s, marks] : cases) {
    const std::string svg =
        latency_plot(std::vector{completed(0, 0.01, 1), completed(end_s, 0.02, 2)}, "t");
    EXPECT_EQ(words_at(svg, "613.0"), marks) << end_s;
    EXPECT_EQ(count(svg, "(logarithmic)"), 2u);
    EXPECT_THAT(svg, HasSubstr("time since the run began"));
    EXPECT_THAT(svg, HasSubstr("share of requests"));
  }
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
