// The short chaos run of the default tests; `tutti-chaos` is the long one.
#include <gtest/gtest.h>

#include "chaos_run.h"

namespace tutti::chaos {
namespace {

TEST(Chaos, NobodyNoticesThatWorkersAreKilled) {
  ChaosOptions options;
  options.num_requests = 30;
  options.concurrency = 8;
  options.num_kills = 3;
  options.timeout_s = 240;
  const ChaosReport report = run(options);
  print(report);
  for (const std::string& sentence : report.violations) ADD_FAILURE() << sentence;
  EXPECT_EQ(report.accepted, 30);
  EXPECT_EQ(report.finished + report.aborted + report.failed, 30);
  EXPECT_GT(report.finished, 0);
  EXPECT_GT(report.aborted, 0);
  EXPECT_GT(report.segments, 0) << "sessions are among the requests";
}

}  // namespace
}  // namespace tutti::chaos
