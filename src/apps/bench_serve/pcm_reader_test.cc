#include "apps/bench_serve/pcm_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tutti::bench {
namespace {

using ::testing::HasSubstr;

std::string little(uint32_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> 8 * i));
  return out;
}

std::string wav(uint32_t encoding, uint32_t channels, uint32_t rate, uint32_t bits,
                const std::string& data) {
  const std::string format = little(encoding, 2) + little(channels, 2) + little(rate, 4) +
                             little(rate * channels * bits / 8, 4) +
                             little(channels * bits / 8, 2) + little(bits, 2);
  return "RIFF" + little(0xFFFFFFFF, 4) + "WAVE" + "LIST" + little(3, 4) + "abc" + '\0' + "fmt " +
         little(16, 4) + format + "data" + little(0xFFFFFFFF, 4) + data;
}

struct Read {
  std::vector<float> samples;
  int32_t rate = 0;
};

Read read(std::string_view bytes, size_t piece) {
  PcmReader reader(24000);
  Read out;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    const auto samples = reader.append(bytes.substr(at, piece));
    EXPECT_TRUE(samples.ok());
    out.samples.insert(out.samples.end(), samples->begin(), samples->end());
  }
  out.rate = reader.sample_rate();
  return out;
}

TEST(PcmReader, ReadsBarePcmInAnyPieces) {
  const std::string bytes = little(0x4000, 2) + little(0x8000, 2) + little(1, 2) + little(0, 2);
  const std::vector<float> expected{0.5f, -1.0f, 1.0f / 32768, 0.0f};
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    EXPECT_EQ(read(bytes, piece).samples, expected) << piece;
    EXPECT_EQ(read(bytes, piece).rate, 24000);
  }
}

TEST(PcmReader, ReadsAWavFileInAnyPieces) {
  const std::string bytes =
      wav(1, 2, 44100, 16, little(0x4000, 2) + little(7, 2) + little(0xC000, 2) + little(7, 2));
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    const Read out = read(bytes, piece);
    EXPECT_EQ(out.samples, (std::vector<float>{0.5f, -0.5f})) << piece;
    EXPECT_EQ(out.rate, 44100);
  }
}

TEST(PcmReader, SamplesThatBeginLikeAHeaderAreSamples) {
  EXPECT_EQ(read("RI\x01\x02", 1).samples.size(), 2u);
}

TEST(PcmReader, RefusesOtherEncodings) {
  for (const std::string& bytes :
       {wav(3, 1, 24000, 32, ""), wav(1, 1, 24000, 8, ""), wav(1, 0, 24000, 16, "")}) {
    PcmReader reader(24000);
    const auto samples = reader.append(bytes);
    ASSERT_FALSE(samples.ok());
    EXPECT_THAT(samples.error().message(), HasSubstr("only 16-bit PCM"));
  }
}

}  // namespace
}  // namespace tutti::bench
