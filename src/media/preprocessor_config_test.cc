#include "media/preprocessor_config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace tutti {
namespace {

namespace fs = std::filesystem;

const std::string kGoldens = TUTTI_TEST_DATA "/goldens/";

std::string load_error(const std::string& json) {
  const fs::path dir = fs::path(testing::TempDir()) / "tutti_preprocessor_config";
  fs::create_directories(dir);
  std::ofstream(dir / "preprocessor_config.json") << json;
  const auto got = load_preprocessor_config(dir.string());
  fs::remove_all(dir);
  return got.ok() ? "no error" : got.error().message();
}

bool mentions(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(PreprocessorConfig, ReadsBothLayoutsAlike) {
  for (const std::string family : {"qwen3_omni_moe", "qwen2_5_omni"}) {
    const auto split = load_preprocessor_config(kGoldens + family + "/checkpoint");
    const auto joint =
        load_preprocessor_config(kGoldens + family + "/checkpoint/saved_by_processor");
    ASSERT_TRUE(split.ok()) << split.error().message();
    ASSERT_TRUE(joint.ok()) << joint.error().message();
    const bool qwen3 = family == "qwen3_omni_moe";
    for (const PreprocessorConfig& config : {*split, *joint}) {
      EXPECT_EQ(config.mel.num_mel_bins, 128);
      EXPECT_EQ(config.mel.max_samples, 4'800'000);
      EXPECT_EQ(config.mel.padding,
                qwen3 ? MelConfig::Padding::kNone : MelConfig::Padding::kSilenceBefore);
      for (const PatchConfig& patches : {config.image, config.video}) {
        EXPECT_EQ(patches.patch_size, qwen3 ? 16 : 14);
        EXPECT_EQ(patches.merge_size, 2);
        EXPECT_EQ(patches.min_pixels, 3136);
        EXPECT_EQ(patches.max_pixels, 12'845'056);
        EXPECT_FLOAT_EQ(patches.std[1], qwen3 ? 0.5f : 0.26130258f);
      }
    }
  }
}

TEST(PreprocessorConfig, TakesSizesAsPixelLimits) {
  const fs::path dir = fs::path(testing::TempDir()) / "tutti_preprocessor_size";
  fs::create_directories(dir);
  std::ofstream(dir / "preprocessor_config.json")
      << R"({"size": {"shortest_edge": 1000, "longest_edge": 50000}, "max_pixels": 60000})";
  const auto got = load_preprocessor_config(dir.string());
  fs::remove_all(dir);
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(got->image.min_pixels, 1000);
  EXPECT_EQ(got->image.max_pixels, 60000);
  EXPECT_EQ(got->video.max_pixels, 60000);  // without a file of its own
}

TEST(PreprocessorConfig, NamesWhatItCannotDo) {
  EXPECT_EQ(load_error("{}"), "no error");
  EXPECT_TRUE(mentions(load_error("[]"), "holds no JSON object at its top"));
  EXPECT_TRUE(mentions(load_error("{\n\"n_fft\": "), "(line 2, byte "));
  EXPECT_TRUE(mentions(load_error(R"({"n_fft": "big"})"), "'n_fft' is \"big\"; allowed is"));
  EXPECT_TRUE(mentions(load_error(R"({"patch_size": 0})"), "'patch_size' is 0"));
  EXPECT_TRUE(mentions(load_error(R"({"resample": 2})"), "'resample' is 2"));
  EXPECT_TRUE(mentions(load_error(R"({"dither": 0.1})"), "'dither' is"));
  EXPECT_TRUE(mentions(load_error(R"({"do_resize": false})"), "'do_resize' is false"));
  EXPECT_TRUE(mentions(load_error(R"({"image_std": [0, 1, 1]})"), "'image_std' is [0,1,1]"));
  EXPECT_TRUE(mentions(load_error(R"({"image_mean": 0.5})"), "a list of three numbers"));
  EXPECT_TRUE(mentions(load_error(R"({"feature_extractor_type": "Other"})"), "\"Other\""));
  EXPECT_TRUE(mentions(load_error(R"({"min_pixels": 50, "max_pixels": 10})"), "'min_pixels'"));
  const auto missing = load_preprocessor_config("/nonexistent-directory");
  EXPECT_TRUE(mentions(missing.status().message(), "has neither preprocessor_config.json nor"));
}

}  // namespace
}  // namespace tutti
