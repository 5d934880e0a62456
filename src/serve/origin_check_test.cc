// Which pages may use the server, and by which names.
#include "serve/origin_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tutti::serve {
namespace {

using ::testing::HasSubstr;

HttpRequest request(const std::string& method, const std::string& host,
                    const std::string& origin = "") {
  HttpRequest head;
  head.method = method;
  head.headers.emplace_back("host", host);
  if (!origin.empty()) head.headers.emplace_back("origin", origin);
  return head;
}

std::string header(const OriginCheck& check, const HttpRequest& head, const std::string& wanted) {
  Headers headers;
  check.decorate(head, headers);
  for (const auto& [name, value] : headers) {
    if (name == wanted) return value;
  }
  return "";
}

TEST(OriginCheckTest, OnlyOwnPagesAndNamedOnesChangeAnything) {
  const OriginCheck check({.cors_origins = {"https://page.example"}, .host = "0.0.0.0"});
  const auto allowed = [&](const std::string& method, const std::string& origin, bool upgrade) {
    return check.check(request(method, "me:8091", origin), upgrade).ok();
  };
  EXPECT_TRUE(allowed("POST", "", false));  // no page
  EXPECT_TRUE(allowed("POST", "http://me:8091", false));
  EXPECT_TRUE(allowed("POST", "HTTP://ME:8091", false));
  EXPECT_TRUE(allowed("POST", "https://page.example", false));
  EXPECT_TRUE(allowed("GET", "http://me:8091", true));
  for (const char* foreign : {"http://evil.example", "null", "https://me:8091", "http://me:80",
                              "http://me", "https://page.example.evil.example"}) {
    for (const char* method : {"POST", "DELETE", "PUT"})
      EXPECT_FALSE(allowed(method, foreign, false)) << foreign;
    EXPECT_FALSE(allowed("GET", foreign, true)) << foreign;
    EXPECT_TRUE(allowed("GET", foreign, false)) << foreign;
    EXPECT_TRUE(allowed("OPTIONS", foreign, false)) << foreign;
  }
  EXPECT_THAT(check.check(request("POST", "me", "http://evil.example"), false).message(),
              HasSubstr("'http://evil.example', which may not call; --cors-origin"));
  const OriginCheck tls({.tls = true});
  EXPECT_TRUE(tls.check(request("POST", "me", "https://me"), false).ok());
  EXPECT_FALSE(tls.check(request("POST", "me", "http://me"), false).ok());
  const OriginCheck any({.cors_origins = {"*"}, .host = "127.0.0.1"});
  EXPECT_TRUE(any.check(request("POST", "proxy.example", "null"), true).ok());
}

TEST(OriginCheckTest, ALoopbackServerIsNotReachedByNamesOfOthers) {
  const OriginCheck check({.cors_origins = {"https://proxy.example"}, .host = "127.0.0.2"});
  for (const char* host : {"localhost", "LocalHost:80", "127.0.0.1:8091", "127.0.0.2", "[::1]",
                           "[::1]:8091", "proxy.example", "proxy.example:443", ""})
    EXPECT_TRUE(check.check(request("GET", host), false).ok()) << host;
  for (const char* host : {"evil.example", "localhost.evil.example", "127.0.0.3", "[::2]:8091",
                           "[::1", "::1", ":8091"})
    EXPECT_FALSE(check.check(request("GET", host), false).ok()) << host;
  EXPECT_THAT(check.check(request("GET", "evil.example:1"), false).message(),
              HasSubstr("for the host 'evil.example:1'"));
  for (const char* host : {"::1", "localhost"}) {
    const OriginCheck other({.host = host});
    EXPECT_TRUE(other.check(request("GET", "[::1]:1"), false).ok());
    EXPECT_FALSE(other.check(request("GET", "evil.example"), false).ok());
  }
  EXPECT_TRUE(OriginCheck({.host = "10.0.0.1"}).check(request("GET", "any"), false).ok());
}

TEST(OriginCheckTest, BrowsersOfAllowedPagesHearWhatTheyMayDo) {
  const OriginCheck check({.cors_origins = {"https://page.example"}});
  HttpRequest preflight = request("OPTIONS", "me", "https://page.example");
  preflight.headers.emplace_back("access-control-request-headers",
                                 "authorization,x-stainless-os, OpenAI-Organization,x-evil");
  const std::string allowed = header(check, preflight, "Access-Control-Allow-Headers");
  for (const char* name :
       {"Authorization", "Content-Type", "x-stainless-os", "openai-organization"})
    EXPECT_THAT(allowed, HasSubstr(name));
  EXPECT_EQ(allowed.find("evil"), std::string::npos);
  EXPECT_EQ(
      header(check, request("GET", "me", "https://page.example"), "Access-Control-Expose-Headers"),
      "X-Request-Id, Retry-After");
  EXPECT_EQ(
      header(check, request("GET", "me", "https://evil.example"), "Access-Control-Allow-Origin"),
      "");
}

}  // namespace
}  // namespace tutti::serve
