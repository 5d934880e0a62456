#include "models/bundled.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace tutti {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;

class BundledModels : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / "tutti_bundled_models";
    fs::create_directories(folder_ / "mouse");
    fs::create_directories(folder_ / "no_config");
    std::ofstream(folder_ / "mouse/config.json") << "{}";
    setenv("TUTTI_MODELS", folder_.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("TUTTI_MODELS");
    fs::remove_all(folder_);
  }
  fs::path folder_;
};

TEST_F(BundledModels, NamesAreDirectoriesWithAConfig) {
  EXPECT_THAT(bundled_models(), Contains("mouse"));
  EXPECT_THAT(bundled_models(), ::testing::Not(Contains("no_config")));
}

TEST_F(BundledModels, ANameOrADirectoryIsFound) {
  const auto by_name = resolve_model("mouse");
  ASSERT_TRUE(by_name.ok()) << by_name.error().message();
  EXPECT_EQ(*by_name, folder_ / "mouse");
  const auto by_path = resolve_model((folder_ / "no_config").string());
  ASSERT_TRUE(by_path.ok()) << "a directory is taken as it is";
}

TEST_F(BundledModels, AnythingElseListsTheNames) {
  for (const char* wrong : {"mice", "", "/no/such/mouse", "../tutti_bundled_models/mice"}) {
    const auto result = resolve_model(wrong);
    ASSERT_FALSE(result.ok()) << wrong;
    EXPECT_EQ(result.error().code(), StatusCode::kNotFound);
    EXPECT_THAT(result.error().message(), HasSubstr(wrong));
    EXPECT_THAT(result.error().message(), HasSubstr("mouse"));
  }
}

}  // namespace
}  // namespace tutti
