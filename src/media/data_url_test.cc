#include "media/data_url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tutti {
namespace {

using ::testing::HasSubstr;

std::string decoded(std::string_view url) {
  const auto bytes = decode_data_url(url, 100);
  if (!bytes.ok()) return "error: " + bytes.error().message();
  return {reinterpret_cast<const char*>(bytes->data()), bytes->size()};
}

TEST(DataUrl, DecodesBase64OfAnyLength) {
  EXPECT_EQ(decoded("data:audio/wav;base64,"), "");
  EXPECT_EQ(decoded("data:audio/wav;base64,TQ=="), "M");
  EXPECT_EQ(decoded("data:;base64,TWE="), "Ma");
  EXPECT_EQ(decoded("DATA:image/png;base64,TWFu"), "Man");
  EXPECT_EQ(decoded("data:image/png;base64,-_-_"), decoded("data:image/png;base64,+/+/"));
}

TEST(DataUrl, RefusesWhatIsNone) {
  EXPECT_THAT(decoded("data:text/plain,hello"), HasSubstr("no 'data:TYPE;base64,DATA'"));
  EXPECT_THAT(decoded("data:image/png;base64"), HasSubstr("no 'data:TYPE;base64,DATA'"));
  EXPECT_THAT(decoded("data:image/png;base64,TW Fu"), HasSubstr("byte 32 at place 2"));
  EXPECT_THAT(decoded("data:image/png;base64," + std::string(400, 'A')), HasSubstr("allowed are"));
}

TEST(DataUrl, DecodesBareBase64) {
  const auto bytes = decode_base64("AP8");
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(*bytes, (std::vector<std::byte>{std::byte{0}, std::byte{255}}));
  EXPECT_THAT(decode_base64("A*").error().message(), HasSubstr("byte 42 at place 1"));
}

TEST(DataUrl, TellsUrlsFromPaths) {
  EXPECT_EQ(url_scheme("HTTPS://example.org/a.png"), "https");
  EXPECT_EQ(url_scheme("file:///a"), "file");
  EXPECT_EQ(url_scheme("data:x"), "data");
  EXPECT_EQ(url_scheme("a:b.wav"), "");
  EXPECT_EQ(url_scheme("/a/b.wav"), "");
  EXPECT_EQ(url_scheme("a b://c"), "");
  EXPECT_EQ(url_scheme(""), "");
}

}  // namespace
}  // namespace tutti
