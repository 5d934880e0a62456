#include "media/mel.h"

#include <gtest/gtest.h>

#include <complex>
#include <numbers>

#include "media/media_test_util.h"

namespace tutti {
namespace {

using media_test::sine;

// A mixture that is different everywhere.
std::vector<float> chirp(size_t count) {
  std::vector<float> out(count);
  for (size_t i = 0; i < count; ++i) {
    const double t = static_cast<double>(i) / 16000;
    out[i] = static_cast<float>(0.4 * std::sin(2 * std::numbers::pi * (200 + 900 * t) * t) +
                                0.05 * std::sin(12345.0 * t * t));
  }
  return out;
}

Tensor mel_of(const MelConfig& config, const std::vector<float>& samples) {
  auto extractor = MelExtractor::create(config);
  EXPECT_TRUE(extractor.ok());
  auto mel = extractor->extract(samples);
  EXPECT_TRUE(mel.ok()) << mel.error().message();
  return mel.ok() ? *mel : Tensor();
}

// The definition, in double and without a fast transform; reflects at both ends.
std::vector<std::vector<double>> slow_mel(const MelConfig& config, const Tensor& filters,
                                          const std::vector<float>& samples) {
  const auto count = static_cast<int64_t>(samples.size());
  const int64_t n = config.n_fft;
  std::vector<std::vector<double>> out(config.num_mel_bins);
  double largest = -10;
  for (int64_t f = 0; f < count / config.hop_length; ++f) {
    std::vector<double> power(n / 2 + 1);
    for (int64_t k = 0; k <= n / 2; ++k) {
      std::complex<double> sum = 0;
      for (int64_t i = 0; i < n; ++i) {
        int64_t at = std::abs(f * config.hop_length - n / 2 + i);
        if (at >= count) at = 2 * (count - 1) - at;
        const double window = 0.5 - 0.5 * std::cos(2 * std::numbers::pi * i / n);
        const double phase = -2 * std::numbers::pi * static_cast<double>(k * i % n) / n;
        sum += samples[at] * window * std::polar(1.0, phase);
      }
      power[k] = std::norm(sum);
    }
    for (int64_t m = 0; m < config.num_mel_bins; ++m) {
      double sum = 0;
      for (int64_t k = 0; k <= n / 2; ++k) {
        sum += filters.data<float>()[k * config.num_mel_bins + m] * power[k];
      }
      out[m].push_back(std::log10(std::max(sum, 1e-10)));
      largest = std::max(largest, out[m].back());
    }
  }
  for (auto& row : out) {
    for (double& v : row) v = (std::max(v, largest - 8) + 4) / 4;
  }
  return out;
}

TEST(Mel, IsWhatTheDefinitionSays) {
  // 400 and 80 bins as published; 256 has other factors, 46 a prime one.
  for (const auto& [n_fft, hop, bins] : {std::tuple{400, 160, 128}, {256, 100, 40}, {46, 23, 8}}) {
    MelConfig config;
    config.n_fft = n_fft;
    config.hop_length = hop;
    config.num_mel_bins = bins;
    const std::vector<float> samples = chirp(2000);
    auto extractor = MelExtractor::create(config);
    ASSERT_TRUE(extractor.ok());
    const Tensor mel = mel_of(config, samples);
    const auto want = slow_mel(config, extractor->filters(), samples);
    ASSERT_EQ(mel.shape(), (Shape{bins, 2000 / hop}));
    for (int64_t m = 0; m < bins; ++m) {
      for (int64_t f = 0; f < mel.dim(1); ++f) {
        EXPECT_NEAR(mel.data<float>()[m * mel.dim(1) + f], want[m][f], 3e-4) << m << " " << f;
      }
    }
  }
}

TEST(Mel, PaddingIsSilenceAroundTheSound) {
  MelConfig padded;
  padded.max_samples = 16000;
  MelConfig plain;
  const std::vector<float> samples = chirp(5010);
  std::vector<float> after = samples;
  after.resize(16000);
  std::vector<float> before(16000 - samples.size());
  before.insert(before.end(), samples.begin(), samples.end());
  padded.padding = MelConfig::Padding::kSilenceAfter;
  const Tensor got_after = mel_of(padded, samples);
  const Tensor want_after = mel_of(plain, after);
  padded.padding = MelConfig::Padding::kSilenceBefore;
  const Tensor got_before = mel_of(padded, samples);
  const Tensor want_before = mel_of(plain, before);
  // Frames that start inside: sample 5009 is in frame 31; sample 10990 is past frame 68's start.
  ASSERT_EQ(got_after.dim(1), 32);
  ASSERT_EQ(got_before.dim(1), 31);
  for (int64_t m = 0; m < 128; ++m) {
    for (int64_t f = 0; f < 32; ++f) {
      EXPECT_EQ(got_after.data<float>()[m * 32 + f], want_after.data<float>()[m * 100 + f]);
    }
    for (int64_t f = 0; f < 31; ++f) {
      EXPECT_EQ(got_before.data<float>()[m * 31 + f], want_before.data<float>()[m * 100 + 69 + f]);
    }
  }
}

TEST(Mel, SilenceIsTheFloor) {
  const Tensor mel = mel_of({}, std::vector<float>(1600));
  ASSERT_EQ(mel.shape(), (Shape{128, 10}));
  for (int64_t i = 0; i < mel.num_elements(); ++i) EXPECT_EQ(mel.data<float>()[i], -1.5f);
}

TEST(Mel, SaysWhenASoundIsTooShortOrTooLong) {
  auto plain = MelExtractor::create({});
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->extract(std::vector<float>(200)).status().message(),
            "the sound has 200 samples at 16000 Hz; at least 201 are needed");
  EXPECT_TRUE(plain->extract(std::vector<float>(201)).ok());
  MelConfig config;
  config.padding = MelConfig::Padding::kSilenceAfter;
  config.max_samples = 16000;
  auto padded = MelExtractor::create(config);
  ASSERT_TRUE(padded.ok());
  EXPECT_TRUE(padded->extract(std::vector<float>(16000)).ok());
  EXPECT_EQ(padded->extract(std::vector<float>(32000)).status().message(),
            "the sound lasts 2.0 s; this model takes at most 1.0 s");
  EXPECT_TRUE(padded->extract(std::vector<float>(160)).ok());
  EXPECT_FALSE(padded->extract({}).ok());
}

TEST(Mel, RefusesSizesThatMakeNoFilterBank) {
  for (const int n_fft : {0, 401, 1 << 20}) {
    MelConfig config;
    config.n_fft = n_fft;
    EXPECT_FALSE(MelExtractor::create(config).ok()) << n_fft;
  }
  MelConfig config;
  config.hop_length = 0;
  EXPECT_FALSE(MelExtractor::create(config).ok());
}

}  // namespace
}  // namespace tutti
