// What clients send, read and refused: forms, JSON fields, paths.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/fields.h"
#include "serve/json_text.h"
#include "serve/multipart.h"
#include "serve/router.h"

namespace tutti::serve {
namespace {

using ::testing::HasSubstr;

TEST(MultipartTest, TakesPartsWithBinaryData) {
  const std::string data("\r\n--x\0y", 8);
  const std::string body =
      "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".wav\"\r\n"
      "Content-Type: audio/wav\r\n\r\n" +
      data + "\r\n--b\r\nContent-Disposition: form-data; name=model\r\n\r\nnano\r\n--b--\r\n";
  const auto parts = parse_form("multipart/form-data; boundary=b", body);
  ASSERT_TRUE(parts.ok()) << parts.error().message();
  ASSERT_EQ(parts->size(), 2u);
  EXPECT_EQ((*parts)[0].name, "file");
  EXPECT_EQ((*parts)[0].filename, "a \"b\".wav");
  EXPECT_EQ((*parts)[0].data, data);
  EXPECT_EQ((*parts)[1].name, "model");
  EXPECT_EQ((*parts)[1].data, "nano");
}

TEST(MultipartTest, RefusesWhatIsNoForm) {
  EXPECT_THAT(parse_form("application/json", "{}").error().message(),
              HasSubstr("multipart/form-data"));
  EXPECT_THAT(parse_form("multipart/form-data", "--b--").error().message(),
              HasSubstr("no boundary"));
  EXPECT_THAT(parse_form("multipart/form-data; boundary=b", "hello").error().message(),
              HasSubstr("not in the body"));
  EXPECT_THAT(
      parse_form("multipart/form-data; boundary=b", "--b\r\nX: y\r\n\r\nhello").error().message(),
      HasSubstr("no end"));
}

TEST(FieldsTest, WhatAClientSentIsNoErrorCode) {
  const auto code = [](std::string sentence) {
    return std::string(field_error_code(invalid_argument(std::move(sentence)).with_param("role")));
  };
  EXPECT_EQ(code("`role` is missing; it must be user."), "missing_required_parameter");
  EXPECT_EQ(code("`role` is '` is missing; it must be '; it must be user."), "invalid_value");
  EXPECT_EQ(code("The prompt has 9 tokens; the context holds 8."), "context_length_exceeded");
  EXPECT_EQ(code("`role` is ' tokens; the context holds '; it must be user."), "invalid_value");
}

TEST(FieldsTest, TheFirstWrongFieldIsNamedByItsPath) {
  const auto object = boost::json::parse(R"({"a": "x", "b": 7.5, "c": null})").as_object();
  Status error;
  Fields fields(object, "outer[2]", &error);
  EXPECT_FALSE(fields.number("c").has_value());
  EXPECT_TRUE(error.ok());
  EXPECT_FALSE(fields.integer("b").has_value());
  EXPECT_FALSE(fields.number("a").has_value());
  EXPECT_EQ(error.param(), "outer[2].b");
  EXPECT_THAT(error.message(), HasSubstr("must be an integer"));
}

TEST(FieldsTest, UnknownFieldsNameTheNearest) {
  const auto object = boost::json::parse(R"({"temprature": 1})").as_object();
  Status error;
  Fields fields(object, "", &error);
  (void)fields.number("temperature", 0, 2);
  fields.finish();
  EXPECT_THAT(error.message(), HasSubstr("did you mean `temperature`"));
}

TEST(JsonTextTest, EscapesAndRepairsText) {
  std::string out;
  append_json_string(out, "a\"\\\n\x01\xff\xc3\xa9");
  EXPECT_EQ(out, "\"a\\\"\\\\\\n\\u0001\xEF\xBF\xBD\xc3\xa9\"");
}

TEST(JsonTextTest, Base64OfEveryLength) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}};
  for (const auto& [text, wanted] : cases) {
    std::string out;
    append_base64(out, std::as_bytes(std::span(text)));
    EXPECT_EQ(out, wanted);
  }
}

TEST(RouterTest, MatchesPathsMethodsAndKeys) {
  Router router;
  const HttpHandler nothing = [](HttpRequest, HttpReplyPtr) {};
  router.add("GET", "/v1/models/{}", nothing);
  router.add("GET", "/open", nothing, Router::Access::kOpen);
  const auto match = [&](const std::string& method, const std::string& path, Headers headers = {}) {
    HttpRequest head;
    head.method = method;
    head.path = path;
    head.headers = std::move(headers);
    const Router::Match found = router.match(head, false);
    return found.handler ? 200 : found.refusal.status;
  };
  EXPECT_EQ(match("GET", "/v1/models/nano"), 200);
  EXPECT_EQ(match("HEAD", "/v1/models/nano"), 200);
  EXPECT_EQ(match("POST", "/v1/models/nano"), 405);
  EXPECT_EQ(match("GET", "/v1/models/"), 404);
  EXPECT_EQ(match("GET", "/v1/models/a/b"), 404);
  router.set_api_keys({"k1", "k2"});
  EXPECT_EQ(match("GET", "/v1/models/nano"), 401);
  EXPECT_EQ(match("GET", "/v1/models/nano", {{"authorization", "Bearer k2"}}), 200);
  EXPECT_EQ(match("GET", "/v1/models/nano", {{"authorization", "Bearer k"}}), 401);
  EXPECT_EQ(match("GET", "/open"), 200);
}

}  // namespace
}  // namespace tutti::serve
