#include "media/audio_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>

#include "media/media_test_util.h"
#include "media/resampler.h"

namespace tutti {
namespace {

using media_test::Bytes;
using media_test::bytes_of;
using media_test::concat;
using media_test::encode_sound;
using media_test::little;
using media_test::prefix_of;
using media_test::sine;

constexpr int kWav16 = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
constexpr int kFlac16 = SF_FORMAT_FLAC | SF_FORMAT_PCM_16;
constexpr int kVorbis = SF_FORMAT_OGG | SF_FORMAT_VORBIS;
constexpr int kOpus = SF_FORMAT_OGG | SF_FORMAT_OPUS;
constexpr int kMp3 = SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III;

std::string error_of(const Bytes& bytes, const AudioLimits& limits = {}) {
  const auto got = decode_audio(bytes, 16000, limits);
  return got.ok() ? "no error" : got.error().message();
}

bool mentions(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// The amplitude of one frequency, by correlation over whole periods.
double amplitude_at(std::span<const float> samples, double hz, int rate) {
  double re = 0, im = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const double phase = 2 * std::numbers::pi * hz * static_cast<double>(i) / rate;
    re += samples[i] * std::cos(phase);
    im += samples[i] * std::sin(phase);
  }
  return 2 * std::hypot(re, im) / static_cast<double>(samples.size());
}

struct Kind {
  const char* name;
  int format;
  int rate;
};
const Kind kKinds[] = {{"wav", kWav16, 44100},
                       {"wav float", SF_FORMAT_WAV | SF_FORMAT_FLOAT, 8000},
                       {"wav 8 bit", SF_FORMAT_WAV | SF_FORMAT_PCM_U8, 22050},
                       {"wav 24 bit", SF_FORMAT_WAV | SF_FORMAT_PCM_24, 96000},
                       {"wav extensible", SF_FORMAT_WAVEX | SF_FORMAT_PCM_16, 48000},
                       {"wav mu-law", SF_FORMAT_WAV | SF_FORMAT_ULAW, 8000},
                       {"rf64", SF_FORMAT_RF64 | SF_FORMAT_PCM_16, 44100},
                       {"flac", kFlac16, 44100},
                       {"vorbis", kVorbis, 44100},
                       {"opus", kOpus, 48000},
                       {"mp3", kMp3, 44100}};

TEST(AudioFile, DecodesEveryKindAtTheAskedRate) {
  for (const Kind& kind : kKinds) {
    for (const int channels : {1, 2}) {
      const std::vector<float> mono = sine(500, kind.rate, kind.rate);
      std::vector<float> frames;
      for (const float v : mono) frames.insert(frames.end(), channels, v);
      const Bytes file = encode_sound(kind.format, kind.rate, channels, frames);
      const auto got = decode_audio(file, 16000);
      ASSERT_TRUE(got.ok()) << kind.name << ": " << got.error().message();
      EXPECT_NEAR(static_cast<double>(got->size()), 16000, 1) << kind.name;
      const std::span<const float> middle = std::span(*got).subspan(4000, 8000);
      EXPECT_NEAR(amplitude_at(middle, 500, 16000), 0.5, 0.01) << kind.name;
      EXPECT_NEAR(amplitude_at(middle, 1500, 16000), 0.0, 0.01) << kind.name;
    }
  }
}

TEST(AudioFile, MixesChannelsByTheirMean) {
  const std::vector<float> frames = {0.5f, -0.25f, 0.5f, -0.25f};
  const auto got =
      decode_audio(encode_sound(SF_FORMAT_WAV | SF_FORMAT_FLOAT, 16000, 2, frames), 16000);
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(*got, (std::vector<float>{0.125f, 0.125f}));
}

TEST(AudioFile, KeepsSamplesWhenTheRateIsTheSame) {
  const std::vector<float> samples = sine(100, 16000, 999);
  const auto got =
      decode_audio(encode_sound(SF_FORMAT_WAV | SF_FORMAT_FLOAT, 16000, 1, samples), 16000);
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(*got, samples);
}

TEST(AudioFile, ReadsMp3WithoutALengthHeaderToItsEnd) {
  // Loud and silent parts alternate, so that a length guessed from the first frames is far off.
  std::vector<float> samples = sine(500, 44100, 44100 * 4);
  for (size_t i = 0; i < samples.size(); ++i) {
    if (i % 44100 > 9000) samples[i] *= 1e-3f;
  }
  const Bytes whole = encode_sound(kMp3, 44100, 1, samples);
  ASSERT_GT(whole.size(), 1000u);
  size_t second = 4;
  while (second + 1 < whole.size() &&
         (whole[second] != whole[0] || whole[second + 1] != whole[1])) {
    ++second;
  }
  const Bytes headless(whole.begin() + static_cast<std::ptrdiff_t>(second), whole.end());
  const auto got = decode_audio(headless, 16000);
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_GE(got->size(), 64000u);
  EXPECT_TRUE(mentions(error_of(headless, {.max_seconds = 2}), "at most 2.0 s"))
      << error_of(headless, {.max_seconds = 2});
}

TEST(AudioFile, RefusesMp3ThatChangesItsRate) {
  const Bytes first = encode_sound(kMp3, 44100, 1, sine(500, 44100, 44100));
  const Bytes second = encode_sound(kMp3, 32000, 1, sine(500, 32000, 32000));
  // Without the first frame, which tells the length.
  Bytes joined(first.begin() + 417, first.end());
  joined.insert(joined.end(), second.begin(), second.end());
  EXPECT_NE(error_of(joined), "no error");
}

TEST(AudioFile, RefusesWhatIsNoSound) {
  EXPECT_EQ(error_of({}), "the file is empty (0 bytes)");
  EXPECT_TRUE(mentions(error_of(bytes_of("<html>not found</html>")), "plain text"));
  EXPECT_TRUE(mentions(error_of(bytes_of("\x89PNG\r\n\x1a\n....")), "a PNG picture"));
  EXPECT_TRUE(mentions(error_of(bytes_of("RIFF\x24\xFF\xFF\xFF"
                                         "AVI ")),
                       "an AVI container"));
  EXPECT_TRUE(mentions(error_of(bytes_of("\x01\x02\x03\x04\x05")), "unknown format"));
  for (const char* start : {"RIFF\x24\0\0\0WAVE", "fLaC", "OggS", "ID3\3", "\xFF\xFB\x90\x64"}) {
    EXPECT_NE(error_of(concat(bytes_of(start), std::string(40, '\x55'))), "no error") << start;
  }
}

TEST(AudioFile, RefusesTruncatedFiles) {
  for (const Kind& kind : kKinds) {
    if (std::string_view(kind.name) == "rf64") continue;  // its sizes stand elsewhere
    const Bytes whole = encode_sound(kind.format, kind.rate, 1, sine(300, kind.rate, kind.rate));
    for (const double part : {0.03, 0.3, 0.9, 0.99}) {
      const Bytes cut =
          prefix_of(whole, static_cast<size_t>(part * static_cast<double>(whole.size())));
      EXPECT_TRUE(mentions(error_of(cut), "truncated")) << kind.name << ": " << error_of(cut);
    }
  }
}

TEST(AudioFile, RefusesZeroSamples) {
  for (const int format : {kWav16, kFlac16, kVorbis}) {
    EXPECT_NE(error_of(encode_sound(format, 16000, 1, {})), "no error");
  }
  EXPECT_EQ(error_of(encode_sound(kWav16, 16000, 1, {})), "the sound has no samples");
}

TEST(AudioFile, RefusesTenHoursByTheHeader) {
  Bytes flac = encode_sound(kFlac16, 16000, 1, sine(300, 16000, 16000));
  ASSERT_GT(flac.size(), 42u);
  // The last 36 bits of bytes 18 to 25 are the number of samples, most significant first.
  const uint64_t samples = uint64_t{16000} * 36000;
  for (int i = 0; i < 4; ++i) flac[22 + i] = static_cast<std::byte>(samples >> (8 * (3 - i)));
  const auto got = decode_audio(flac, 16000);
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code(), StatusCode::kPayloadTooLarge);
  EXPECT_EQ(got.error().message(), "the sound lasts 36000.0 s; at most 3600.0 s are allowed");
}

TEST(AudioFile, HoldsToItsLimits) {
  const Bytes wav = encode_sound(kWav16, 16000, 1, sine(300, 16000, 32000));
  EXPECT_TRUE(mentions(error_of(wav, {.max_seconds = 1.5}), "lasts 2.0 s; at most 1.5 s"));
  EXPECT_TRUE(mentions(error_of(wav, {.max_bytes = 1000}), "at most 1"));
  EXPECT_EQ(error_of(wav, {.max_seconds = 2}), "no error");
}

TEST(AudioFile, RefusesSamplesThatAreNoNumbers) {
  std::vector<float> samples = sine(300, 16000, 1000);
  samples[500] = 3e38f;
  EXPECT_TRUE(mentions(error_of(encode_sound(SF_FORMAT_WAV | SF_FORMAT_FLOAT, 16000, 1, samples)),
                       "allowed are -1e+09 to 1e+09"));
  samples[500] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(mentions(error_of(encode_sound(SF_FORMAT_WAV | SF_FORMAT_FLOAT, 16000, 1, samples)),
                       "the sample nan"));
}

TEST(AudioFile, RefusesOddRatesAndChannelCounts) {
  EXPECT_TRUE(mentions(error_of(encode_sound(kWav16, 10, 1, sine(1, 10, 100))), "10 Hz"));
  EXPECT_TRUE(mentions(error_of(encode_sound(kWav16, 16000, 40, std::vector<float>(4000))),
                       "40 channels; allowed are 1 to 32"));
}

TEST(AudioFile, TakesAWavOfUnknownLength) {
  Bytes wav = encode_sound(kWav16, 16000, 1, sine(300, 16000, 16000));
  const Bytes unknown = bytes_of("\xFF\xFF\xFF\xFF");
  std::copy(unknown.begin(), unknown.end(), wav.begin() + 4);
  std::copy(unknown.begin(), unknown.end(), wav.begin() + 40);
  const auto got = decode_audio(wav, 16000);
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(got->size(), 16000u);
}

TEST(AudioFile, ReadsPathsAndSaysWhatIsWrongWithThem) {
  namespace fs = std::filesystem;
  const fs::path dir = fs::path(testing::TempDir()) / "tutti_audio_file";
  fs::create_directories(dir);
  const Bytes wav = encode_sound(kWav16, 16000, 1, sine(300, 16000, 16000));
  const std::string good = dir / "a.mp3";  // the name does not matter
  std::ofstream(good, std::ios::binary)
      .write(reinterpret_cast<const char*>(wav.data()), static_cast<std::streamsize>(wav.size()));
  std::ofstream(dir / "empty.wav").flush();
  mkfifo((dir / "pipe.wav").c_str(), 0600);
  const auto message = [](const std::string& path) {
    const auto got = read_audio(path, 16000);
    return got.ok() ? std::string("no error") : got.error().message();
  };
  EXPECT_EQ(message(good), "no error");
  EXPECT_TRUE(mentions(message(dir / "none.wav"), "No such file"));
  EXPECT_TRUE(mentions(message(dir), "is no regular file"));
  EXPECT_TRUE(mentions(message(dir / "pipe.wav"), "is no regular file"));
  EXPECT_TRUE(mentions(message(dir / "empty.wav"), "is empty"));
  fs::resize_file(dir / "empty.wav", 10'000'000'000ull);  // a hole: takes no room
  EXPECT_TRUE(mentions(message(dir / "empty.wav"), "at most 256.0 MB"))
      << message(dir / "empty.wav");
  fs::remove_all(dir);
}

TEST(AudioFile, BrokenFilesNeverCrash) {
  size_t refused = 0;
  for (const int format : {kWav16, kFlac16, kVorbis, kMp3}) {
    const Bytes whole = encode_sound(format, 16000, 2, sine(300, 16000, 6000));
    media_test::for_each_broken(whole, 60, [&](const Bytes& broken) {
      const auto got = decode_audio(broken, 24000, {.max_seconds = 5});
      if (!got.ok()) ++refused;
    });
  }
  EXPECT_GT(refused, 300u);
}

TEST(Resampler, KeepsATonesShapeAndLengthAtEveryRate) {
  for (const int from : {1000, 8000, 11025, 16000, 44100, 47999, 192000, 768000}) {
    const int to = 24000;
    const auto got = resample(sine(200, from, from), from, to);
    ASSERT_TRUE(got.ok()) << from << ": " << got.error().message();
    ASSERT_EQ(got->size(), static_cast<size_t>(to)) << from;
    const std::vector<float> want = sine(200, to, to);
    double worst = 0;
    for (size_t i = 6000; i < 18000; ++i) {
      worst = std::max(worst, static_cast<double>(std::abs((*got)[i] - want[i])));
    }
    EXPECT_LT(worst, 1e-3) << from;
  }
}

TEST(Resampler, BlocksGiveWhatTheWholeGives) {
  const std::vector<float> samples = sine(700, 44100, 30000);
  const auto whole = resample(samples, 44100, 16000);
  auto resampler = Resampler::create(44100, 16000);
  ASSERT_TRUE(whole.ok() && resampler.ok());
  std::vector<float> out;
  for (size_t i = 0; i < samples.size(); i += 777) {
    const size_t count = std::min<size_t>(777, samples.size() - i);
    ASSERT_TRUE(resampler->push(std::span(samples).subspan(i, count), out).ok());
  }
  ASSERT_TRUE(resampler->finish(out).ok());
  EXPECT_EQ(out, *whole);
}

}  // namespace
}  // namespace tutti
