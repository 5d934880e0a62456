#include "base/json_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace tutti {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class JsonFile : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() /
            ("tutti_json_" + std::to_string(getpid()) + "_" +
             ::testing::UnitTest::GetInstance()->current_test_info()->name());
  }
  void TearDown() override { std::filesystem::remove(path_); }

  std::string error_of(const std::string& text) {
    std::ofstream(path_, std::ios::binary) << text;
    const auto object = read_json_object(path_);
    return object.ok() ? "" : object.error().message();
  }

  std::filesystem::path path_;
};

TEST_F(JsonFile, HoldsOneObject) {
  EXPECT_EQ(error_of(" {\"a\": 1}\r\n\t "), "");
  EXPECT_EQ(read_json_object(path_)->at("a").as_int64(), 1);
  EXPECT_EQ(error_of("[1]"), "'" + path_.string() + "' holds no JSON object at its top.");
}

TEST_F(JsonFile, SaysWhereItIsBroken) {
  EXPECT_THAT(error_of("{\n\"a\": 1,\n\"b\" 2}"),
              AllOf(HasSubstr("'" + path_.string() + "' is not valid JSON: "),
                    HasSubstr("(line 3, byte 14)")));
  EXPECT_THAT(error_of(""), HasSubstr("(line 1, byte 0)"));
  EXPECT_THAT(error_of("{\"a\":\n"), HasSubstr("(line 2, byte 6)"));
  EXPECT_THAT(error_of("{}\n{}"), HasSubstr("(line 2, byte"));
  EXPECT_THAT(error_of(std::string("{}\0", 3)), HasSubstr("is not valid JSON"));
  EXPECT_THAT(error_of(std::string(100, '[')), HasSubstr("is not valid JSON"));
}

TEST_F(JsonFile, IsNotThere) {
  const auto missing = read_json_object(path_);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), StatusCode::kNotFound);
  EXPECT_EQ(missing.error().message(), "The file '" + path_.string() + "' cannot be read.");
  EXPECT_FALSE(read_text_file(std::filesystem::temp_directory_path()).ok()) << "a directory";
}

TEST_F(JsonFile, FieldsAreOfTheirTypes) {
  error_of(R"({"o": {}, "a": [1], "b": true, "s": "x", "n": null})");
  const auto object = read_json_object(path_);
  ASSERT_TRUE(object.ok());
  EXPECT_NE(*object_field(*object, "o", "it"), nullptr);
  EXPECT_EQ(*object_field(*object, "n", "it"), nullptr);
  EXPECT_EQ(*array_field(*object, "none", "it"), nullptr);
  EXPECT_EQ((*array_field(*object, "a", "it"))->size(), 1u);
  EXPECT_TRUE(*bool_field(*object, "b", false, "it"));
  EXPECT_TRUE(*bool_field(*object, "none", true, "it"));
  EXPECT_EQ(*string_field(*object, "s", "it"), "x");
  EXPECT_EQ(object_field(*object, "a", "it").error().message(), "'a' of it is not an object.");
}

}  // namespace
}  // namespace tutti
