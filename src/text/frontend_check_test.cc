#include "text/frontend_check.h"

#include "text/test_util.h"

namespace tutti::text {
namespace {

TEST(FrontendCheck, EveryGoldenIsEqual) {
  auto report = check_frontend_text(golden_dir() / "frontend");
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(report->files.size(), 5u);
  for (const FrontendFile& file : report->files) {
    EXPECT_GE(file.rows, 10u) << file.name;
    EXPECT_GE(file.values, 2 * file.rows) << file.name;
    EXPECT_EQ(file.mismatches, 0u) << file.name;
    for (const std::string& message : file.messages) ADD_FAILURE() << file.name << ": " << message;
  }
  EXPECT_TRUE(report->passed());
}

TEST(FrontendCheck, WrongRowsAndMissingCheckpointsAreMismatches) {
  TempDir dir;
  const std::string checkpoint = (golden_dir() / "qwen3_omni_moe" / "checkpoint").string();
  dir.write("tokenizer_a.json", "{\"tokenizer\": \"" + checkpoint +
                                    "\", \"rows\": [{\"text\": \" \", \"ids\": [221]}]}");
  dir.write("tokenizer_b.json", "{\"tokenizer\": \"missing\", \"rows\": []}");
  dir.write("chat_c.json", "{");
  auto report = check_frontend_text(dir.path());
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->files.size(), 3u);
  EXPECT_FALSE(report->passed());
  for (const FrontendFile& file : report->files) EXPECT_EQ(file.mismatches, 1u) << file.name;
}

TEST(FrontendCheck, AnEmptyDirectoryIsAnError) {
  TempDir dir;
  EXPECT_FALSE(check_frontend_text(dir.path()).ok());
  EXPECT_FALSE(check_frontend_text(dir.path() / "missing").ok());
}

}  // namespace
}  // namespace tutti::text
