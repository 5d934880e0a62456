#include "media/wav_writer.h"

#include <gtest/gtest.h>
#include <sndfile.h>

#include <filesystem>
#include <vector>

namespace tutti {
namespace {

std::string temp_path(const std::string& name) {
  return (std::filesystem::path(testing::TempDir()) / name).string();
}

std::vector<float> read_wav(const std::string& path, int* sample_rate) {
  SF_INFO info = {};
  SNDFILE* file = sf_open(path.c_str(), SFM_READ, &info);
  if (file == nullptr) return {};
  std::vector<float> samples(static_cast<size_t>(info.frames));
  sf_read_float(file, samples.data(), info.frames);
  sf_close(file);
  *sample_rate = info.samplerate;
  return samples;
}

TEST(WavWriter, WritesSamplesAndRate) {
  const std::string path = temp_path("tutti_wav_writer.wav");
  auto writer = WavWriter::create(path, 24000);
  ASSERT_TRUE(writer.ok()) << writer.error().message();
  ASSERT_TRUE((*writer)->append(std::vector<float>{0.f, 0.5f}).ok());
  ASSERT_TRUE((*writer)->append(std::vector<float>{-0.5f, 2.f}).ok());
  ASSERT_TRUE((*writer)->finish().ok());
  int rate = 0;
  const std::vector<float> samples = read_wav(path, &rate);
  ASSERT_EQ(rate, 24000);
  ASSERT_EQ(samples.size(), 4u);
  EXPECT_NEAR(samples[1], 0.5f, 1e-4f);
  EXPECT_NEAR(samples[2], -0.5f, 1e-4f);
  EXPECT_NEAR(samples[3], 1.0f, 1e-4f);  // clipped, not wrapped around
  std::filesystem::remove(path);
}

TEST(WavWriter, IsValidBeforeItIsFinished) {
  const std::string path = temp_path("tutti_wav_partial.wav");
  auto writer = WavWriter::create(path, 16000);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->append(std::vector<float>(100, 0.25f)).ok());
  int rate = 0;
  EXPECT_EQ(read_wav(path, &rate).size(), 100u);
  EXPECT_EQ(rate, 16000);
}

TEST(WavWriter, LeavesNothingWithoutFinish) {
  const std::string path = temp_path("tutti_wav_dropped.wav");
  {
    auto writer = WavWriter::create(path, 24000);
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(std::filesystem::exists(path));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(WavWriter, SaysWhatCannotBeWritten) {
  auto writer = WavWriter::create("/nonexistent-directory/a.wav", 24000);
  ASSERT_FALSE(writer.ok());
  EXPECT_NE(writer.error().message().find("/nonexistent-directory/a.wav"), std::string::npos);
  EXPECT_NE(writer.error().message().find("No such file"), std::string::npos);
}

}  // namespace
}  // namespace tutti
