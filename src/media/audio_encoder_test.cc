#include "media/audio_encoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numbers>

#include "media/audio_file.h"

namespace tutti {
namespace {

constexpr int32_t kRate = 24000;

std::vector<float> tone() {
  std::vector<float> out(kRate);
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(
        0.4 * std::sin(2 * std::numbers::pi * 330 * static_cast<double>(i) / kRate));
  }
  return out;
}

std::string streamed(AudioFormat format, const std::vector<float>& samples) {
  auto encoder = AudioEncoder::create(format, kRate, /*streamed=*/true);
  EXPECT_TRUE(encoder.ok());
  std::string out;
  for (size_t at = 0; at < samples.size(); at += 1920) {
    const size_t count = std::min<size_t>(1920, samples.size() - at);
    out += (*encoder)->append(std::span(samples).subspan(at, count)).value();
  }
  return out + (*encoder)->finish().value();
}

void expect_same_sound(const std::string& file, const std::vector<float>& samples,
                       double tolerance) {
  const auto decoded = decode_audio(std::as_bytes(std::span(file)), kRate);
  ASSERT_TRUE(decoded.ok()) << decoded.error().message();
  // Lossy formats pad the ends.
  EXPECT_NEAR(static_cast<double>(decoded->size()), static_cast<double>(samples.size()), 2500);
  double energy = 0;
  for (const float x : *decoded) energy += double{x} * x;
  double wanted = 0;
  for (const float x : samples) wanted += double{x} * x;
  EXPECT_NEAR(energy / wanted, 1, tolerance);
}

TEST(AudioEncoderTest, WholeFilesDecodeToTheSameSound) {
  for (const AudioFormat format : {AudioFormat::kWav, AudioFormat::kFlac, AudioFormat::kMp3,
                                   AudioFormat::kOpus, AudioFormat::kAac}) {
    const auto file = encode_audio(format, kRate, tone());
    ASSERT_TRUE(file.ok()) << file.error().message();
    SCOPED_TRACE(audio_content_type(format));
    expect_same_sound(*file, tone(), 0.05);
  }
}

TEST(AudioEncoderTest, StreamedFilesDecodeToTheSameSound) {
  for (const AudioFormat format :
       {AudioFormat::kFlac, AudioFormat::kMp3, AudioFormat::kOpus, AudioFormat::kAac}) {
    SCOPED_TRACE(audio_content_type(format));
    expect_same_sound(streamed(format, tone()), tone(), 0.05);
  }
}

TEST(AudioEncoderTest, StreamedWavSaysThatItsLengthIsUnknown) {
  const std::string file = streamed(AudioFormat::kWav, tone());
  EXPECT_EQ(file.size(), 44 + 2 * tone().size());
  EXPECT_EQ(file.substr(0, 4), "RIFF");
  uint32_t length = 0;
  std::memcpy(&length, file.data() + 40, 4);
  EXPECT_EQ(length, 0xffffffffu);
}

TEST(AudioEncoderTest, Pcm16IsTheBareSamplesClipped) {
  const std::string pcm =
      *encode_audio(AudioFormat::kPcm16, kRate, std::vector<float>{0, 1, -1, 2});
  int16_t samples[4];
  ASSERT_EQ(pcm.size(), sizeof(samples));
  std::memcpy(samples, pcm.data(), sizeof(samples));
  EXPECT_EQ(samples[0], 0);
  EXPECT_EQ(samples[1], 32767);
  EXPECT_EQ(samples[2], -32767);
  EXPECT_EQ(samples[3], 32767);
}

TEST(AudioEncoderTest, NamesAreTheApis) {
  EXPECT_EQ(audio_format("pcm"), AudioFormat::kPcm16);
  EXPECT_EQ(audio_format("mp3"), AudioFormat::kMp3);
  EXPECT_FALSE(audio_format("tape").has_value());
}

}  // namespace
}  // namespace tutti
