#include "serve/request_head.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tutti::serve {
namespace {

using ::testing::HasSubstr;

Result<HttpRequest> get(std::string_view target, Headers headers = {{"host", "me:8091"}}) {
  return make_head("GET", target, std::move(headers), /*http_1_1=*/true);
}

std::string sentence(const Result<HttpRequest>& head) {
  return head.ok() ? "taken" : head.error().message();
}

TEST(RequestHeadTest, TakesPathAndQueryApart) {
  const auto head = get("/v1/models/a%20b?x=1&y=%2f");
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(head->method, "GET");
  EXPECT_EQ(head->path, "/v1/models/a b");
  EXPECT_EQ(head->query, "x=1&y=%2f");
  EXPECT_EQ(head->query_value("y"), "/");
  for (const char* wrong : {"/%", "/%zz", "/%00", "/a%0d%0ab", "/%ff", "/\x01"})
    EXPECT_THAT(sentence(get(wrong)), HasSubstr("not percent-encoded UTF-8")) << wrong;
}

TEST(RequestHeadTest, AWholeUrlNamesItsHost) {
  const auto head = get("HTTP://localhost:80/version?a=b");
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(head->path, "/version");
  EXPECT_EQ(head->query, "a=b");
  EXPECT_EQ(head->header("host"), "localhost:80");  // not that of the header
  EXPECT_EQ(get("https://[::1]:80")->path, "/");
  EXPECT_EQ(get("http://me?a=b")->path, "/");
  EXPECT_EQ(get("http://me?a=b")->query, "a=b");
  const auto older = make_head("GET", "http://me/", {}, /*http_1_1=*/false);
  ASSERT_TRUE(older.ok());
  EXPECT_EQ(older->header("host"), "me");
  for (const char* wrong : {"http:///version", "http://", "http://user@me/", "http://a b/"})
    EXPECT_NE(sentence(get(wrong)), "taken") << wrong;
  for (const char* wrong : {"ftp://me/", "version", "me:80", "", "*", "file:///etc/passwd"})
    EXPECT_THAT(sentence(get(wrong)), HasSubstr("neither '/' nor http://")) << wrong;
}

TEST(RequestHeadTest, HasOneHost) {
  EXPECT_THAT(sentence(get("/", {})), HasSubstr("has no header Host"));
  EXPECT_TRUE(make_head("GET", "/", {}, /*http_1_1=*/false).ok());
  EXPECT_TRUE(get("/", {{"host", ""}}).ok());
  EXPECT_THAT(sentence(get("/", {{"host", "a"}, {"accept", "*/*"}, {"host", "a"}})),
              HasSubstr("two headers Host, 'a' and 'a'"));
  for (const char* wrong : {"a, b", "user@a", "a/b", "a b", "\xff"})
    EXPECT_THAT(sentence(get("/", {{"host", wrong}})), HasSubstr("must be HOST or HOST:PORT"))
        << wrong;
}

TEST(RequestHeadTest, OnlyOptionsAsksAboutTheServerItself) {
  const auto head = make_head("OPTIONS", "*", {{"host", "me"}}, /*http_1_1=*/true);
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(head->path, "*");
  EXPECT_EQ(make_head("OPTIONS", "/*", {{"host", "me"}}, true)->path, "/*");
}

}  // namespace
}  // namespace tutti::serve
