// Kept responses: bounds, what goes first, and whose they are.
#include "serve/response_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tutti::serve {
namespace {

using ::testing::HasSubstr;

StoredResponse with_text(size_t bytes) {
  return {{ChatMessage::text("assistant", std::string(bytes, 'x'))}, "{}"};
}

bool has(const ResponseStore& store, const std::string& id) { return store.get(id, "").ok(); }

TEST(ResponseStore, TheOldestGoFirstWhenTheirBytesAreTooMany) {
  ResponseStore store(10'000);
  store.put("a", "", with_text(4000));
  store.put("b", "", with_text(4000));
  EXPECT_TRUE(has(store, "a") && has(store, "b"));
  store.put("c", "", with_text(4000));
  EXPECT_FALSE(has(store, "a"));
  EXPECT_TRUE(has(store, "b") && has(store, "c"));
  // A place that is given back is free.
  EXPECT_TRUE(store.erase("c", "").ok());
  store.put("d", "", with_text(4000));
  EXPECT_TRUE(has(store, "b") && has(store, "d"));
}

TEST(ResponseStore, CountsMediaAndTheBody) {
  ResponseStore store(10'000);
  StoredResponse picture;
  picture.messages.push_back({"user", {{"", MediaItem{}}}, ""});
  picture.messages[0].content[0].media->path_or_url = std::string(6000, 'x');
  store.put("picture", "", picture);
  EXPECT_TRUE(has(store, "picture"));
  store.put("body", "", {{}, std::string(6000, 'x')});
  EXPECT_FALSE(has(store, "picture"));
  StoredResponse bytes;
  bytes.messages.push_back({"user", {{"", MediaItem{}}}, ""});
  bytes.messages[0].content[0].media->bytes =
      std::make_shared<const std::vector<std::byte>>(size_t{6000});
  store.put("bytes", "", bytes);
  EXPECT_FALSE(has(store, "body"));
  EXPECT_TRUE(has(store, "bytes"));
}

TEST(ResponseStore, OneThatIsTooLargeIsNotKeptAndSaysSo) {
  ResponseStore store(10'000);
  store.put("small", "", with_text(4000));
  store.put("large", "", with_text(20'000));
  EXPECT_TRUE(has(store, "small"));
  const auto large = store.get("large", "");
  ASSERT_FALSE(large.ok());
  EXPECT_EQ(large.error().code(), StatusCode::kNotFound);
  EXPECT_THAT(large.error().message(), HasSubstr("'large' was too large to be kept"));
  EXPECT_THAT(large.error().message(), HasSubstr("10.0 KB are the most"));
  EXPECT_EQ(store.erase("large", "").code(), StatusCode::kNotFound);
}

TEST(ResponseStore, TheOldestGoFirstWhenTheyAreTooMany) {
  ResponseStore store;
  for (size_t i = 0; i <= ResponseStore::kMostResponses; ++i) {
    store.put(std::to_string(i), "", with_text(1));
  }
  EXPECT_FALSE(has(store, "0"));
  EXPECT_TRUE(has(store, "1"));
  EXPECT_THAT(store.get("0", "").error().message(), HasSubstr("There is no response '0'"));
}

TEST(ResponseStore, BelongsToTheKeyThatMadeIt) {
  ResponseStore store(10'000);
  store.put("a", "mine", with_text(1));
  store.put("large", "mine", with_text(20'000));
  for (const char* key : {"yours", ""}) {
    EXPECT_THAT(store.get("a", key).error().message(), HasSubstr("There is no response 'a'"));
    EXPECT_EQ(store.erase("a", key).code(), StatusCode::kNotFound);
    EXPECT_THAT(store.get("large", key).error().message(), HasSubstr("There is no response"));
  }
  EXPECT_TRUE(store.get("a", "mine").ok());
  EXPECT_TRUE(store.erase("a", "mine").ok());
  EXPECT_FALSE(store.get("a", "mine").ok());
}

}  // namespace
}  // namespace tutti::serve
