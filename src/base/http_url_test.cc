#include "base/http_url.h"

#include <gtest/gtest.h>

namespace tutti {
namespace {

TEST(HttpUrl, TakesUrlsApart) {
  const auto plain = parse_http_url("http://Example.org");
  ASSERT_TRUE(plain);
  EXPECT_FALSE(plain->secure);
  EXPECT_EQ(plain->host, "example.org");
  EXPECT_EQ(plain->port, "80");
  EXPECT_EQ(plain->target, "/");
  EXPECT_EQ(plain->host_header(), "example.org");
  const auto full = parse_http_url("HTTPS://[::1]:8091/v1/x?y=1#part");
  ASSERT_TRUE(full);
  EXPECT_TRUE(full->secure);
  EXPECT_EQ(full->host, "::1");
  EXPECT_EQ(full->port, "8091");
  EXPECT_EQ(full->target, "/v1/x?y=1");
  EXPECT_EQ(full->host_header(), "[::1]:8091");
  EXPECT_EQ(parse_http_url("http://h?q")->target, "/?q");
}

TEST(HttpUrl, RefusesWhatIsNone) {
  for (const char* text :
       {"", "http", "http://", "http:///x", "ftp://h/", "h:80", "http://a b/", "http://u:p@h/",
        "http://h:port/", "http://h:123456/", "http://[::1/", "http://h\\@x/"}) {
    EXPECT_FALSE(parse_http_url(text)) << text;
  }
  EXPECT_FALSE(parse_http_url("http://h/" + std::string(5000, 'a')));
}

}  // namespace
}  // namespace tutti
