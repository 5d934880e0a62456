#include "serve/http_date.h"

#include <gtest/gtest.h>

namespace tutti::serve {
namespace {

TEST(HttpDateTest, IsAsTheStandardWritesIt) {
  EXPECT_EQ(http_date(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");  // RFC 9110's example
  EXPECT_EQ(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(http_date(1709251199), "Thu, 29 Feb 2024 23:59:59 GMT");
}

TEST(HttpDateTest, NowIsThisSecond) {
  const std::time_t before = std::time(nullptr);
  const std::string now(http_date_now());
  const std::time_t after = std::time(nullptr);
  EXPECT_TRUE(now == http_date(before) || now == http_date(after)) << now;
}

}  // namespace
}  // namespace tutti::serve
