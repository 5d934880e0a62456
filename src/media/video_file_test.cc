// Containers through the worker process: what comes out, what is refused, and a worker that is
// killed, sleeps, sends nonsense or is missing.
#include "media/video_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <thread>

#include "media/image_file.h"
#include "media/media_file.h"
#include "media/media_test_util.h"

namespace tutti {
namespace {

namespace fs = std::filesystem;
using media_test::Bytes;
using media_test::bytes_of;
using media_test::prefix_of;
using ::testing::HasSubstr;

const std::string kGoldens = TUTTI_TEST_DATA "/goldens/media/";
const std::string kFiles = TUTTI_TEST_DATA "/media/";

Bytes file(const std::string& path) { return read_media_file(path, 1 << 30).value(); }

VideoOptions with_sound() {
  VideoOptions options;
  options.with_sound = true;
  return options;
}

std::string error_of(const Bytes& bytes, const VideoOptions& options = with_sound()) {
  const auto clip = decode_video(bytes, options);
  return clip.ok() ? "no error" : clip.error().message();
}

double mean_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.num_elements(), b.num_elements());
  double sum = 0;
  for (int64_t i = 0; i < a.num_elements(); ++i) {
    sum += std::abs(int{a.data<uint8_t>()[i]} - int{b.data<uint8_t>()[i]});
  }
  return sum / static_cast<double>(a.num_elements());
}

// Energy of the difference over the energy of `expected`, in dB.
double difference_db(const std::vector<float>& got, const std::vector<float>& expected) {
  double signal = 1e-20, difference = 1e-20;
  for (size_t i = 0; i < std::min(got.size(), expected.size()); ++i) {
    signal += std::pow(expected[i], 2);
    difference += std::pow(got[i] - expected[i], 2);
  }
  return 10 * std::log10(difference / signal);
}

TEST(VideoFile, FramesAndSoundAreTheReferences) {
  const auto clip = decode_video(file(kGoldens + "clip.mp4"), with_sound());
  ASSERT_TRUE(clip.ok()) << clip.error().message();
  ASSERT_EQ(clip->frames.shape(), (Shape{4, 72, 96, 3}));
  EXPECT_DOUBLE_EQ(clip->fps, 2.0);
  for (int64_t i = 0; i < 4; ++i) {
    const auto frame = read_image(kGoldens + "clip_frames/0" + std::to_string(i) + ".png");
    EXPECT_LT(mean_difference(clip->frames.select(i), *frame), 0.01) << "frame " << i;
  }
  const auto sound = read_audio(kGoldens + "clip_audio_16k.wav", 16000);
  EXPECT_EQ(clip->samples.size(), sound->size());
  // Stored with another resampler, which differs close to the highest frequency.
  EXPECT_LT(difference_db(clip->samples, *sound), -35);
}

TEST(VideoFile, EveryContainerHoldsTheSameClip) {
  const auto mp4 = decode_video(file(kGoldens + "clip.mp4"), with_sound());
  ASSERT_TRUE(mp4.ok()) << mp4.error().message();
  for (const char* name : {"clip.mkv", "clip.mov", "clip.webm"}) {
    const auto clip = decode_video(file(kFiles + name), with_sound());
    ASSERT_TRUE(clip.ok()) << name << ": " << clip.error().message();
    EXPECT_EQ(clip->frames.shape(), mp4->frames.shape()) << name;
    EXPECT_NEAR(clip->fps, 2.0, 1e-3) << name;
    // The webm file was encoded anew.
    EXPECT_LT(mean_difference(clip->frames, mp4->frames), 6.0) << name;
    EXPECT_NEAR(static_cast<double>(clip->samples.size()), 32000, 800) << name;
  }
}

TEST(VideoFile, SamplesAsTheReferenceDoes) {
  const Bytes bytes = file(kGoldens + "clip.mp4");  // 20 frames in 2 s
  const auto count = [&](FrameSampling sampling) {
    VideoOptions options;
    options.sampling = sampling;
    const auto clip = decode_video(bytes, options);
    EXPECT_TRUE(clip.ok()) << clip.error().message();
    if (!clip.ok()) return int64_t{-1};
    EXPECT_NEAR(clip->fps, static_cast<double>(clip->frames.dim(0)) / 2, 1e-6);
    EXPECT_TRUE(clip->samples.empty()) << "sound was not asked for";
    return clip->frames.dim(0);
  };
  EXPECT_EQ(count({.fps = 1}), 4) << "min_frames";
  EXPECT_EQ(count({.fps = 3.6}), 6) << "7.2 rounded down to the multiple";
  EXPECT_EQ(count({.fps = 100}), 20) << "as many as there are";
  EXPECT_EQ(count({.fps = 100, .max_frames = 9}), 8);
}

TEST(VideoFile, KeepsFramesAtTheSizeAskedFor) {
  VideoOptions options;
  options.kept_size = [](Size stored) -> Result<Size> {
    EXPECT_EQ(stored, (Size{72, 96}));
    return Size{32, 64};
  };
  const auto clip = decode_video(file(kGoldens + "clip.mp4"), options);
  ASSERT_TRUE(clip.ok()) << clip.error().message();
  EXPECT_EQ(clip->frames.shape(), (Shape{4, 32, 64, 3}));
}

TEST(VideoFile, SoundFilesInContainers) {
  const auto wav = read_audio(kGoldens + "speech_short_16k.wav", 16000);
  for (const char* name : {"speech.m4a", "speech.webm", "speech.aac"}) {
    const auto sound = read_audio(kFiles + name, 16000);
    ASSERT_TRUE(sound.ok()) << name << ": " << sound.error().message();
    // AAC comes in blocks of 1024 samples, and a bare stream does not tell how many of the first
    // and last are none of the sound's.
    EXPECT_NEAR(static_cast<double>(sound->size()), static_cast<double>(wav->size()), 2100) << name;
  }
  // An MP4 file tells its length in milliseconds.
  EXPECT_NEAR(static_cast<double>(read_audio(kFiles + "speech.m4a", 16000)->size()),
              static_cast<double>(wav->size()), 16);
}

TEST(VideoFile, RefusesWhatHasNoFramesOrIsNoVideo) {
  EXPECT_EQ(error_of({}), "the file is empty (0 bytes)");
  EXPECT_THAT(error_of(bytes_of("<html>not found</html>")), HasSubstr("holds plain text"));
  EXPECT_THAT(error_of(file(kGoldens + "photo_97x61.png")), HasSubstr("a PNG picture"));
  EXPECT_EQ(error_of(file(kFiles + "speech.m4a")),
            "the container has no frames, only sound; at least one frame is needed");
  EXPECT_THAT(read_audio(kFiles + "silent.mp4", 16000).error().message(),
              HasSubstr("the container has no sound, only pictures"));
  const auto silent = decode_video(file(kFiles + "silent.mp4"), with_sound());
  ASSERT_TRUE(silent.ok()) << silent.error().message();
  EXPECT_TRUE(silent->samples.empty());
}

TEST(VideoFile, RefusesTruncatedAndCorruptFiles) {
  for (const std::string& path : {kGoldens + "clip.mp4", kFiles + "clip.webm"}) {
    const Bytes whole = file(path);
    for (const double part : {0.003, 0.3, 0.6, 0.9}) {
      const auto count = static_cast<size_t>(part * static_cast<double>(whole.size()));
      EXPECT_THAT(error_of(prefix_of(whole, count)), HasSubstr("truncated")) << path << part;
    }
  }
  // Any answer is right as long as it is one.
  const Bytes whole = file(kGoldens + "clip.mp4");
  for (size_t i = 5; i < whole.size(); i += whole.size() / 12) {
    Bytes flipped = whole;
    flipped[i] ^= std::byte{0x41};
    EXPECT_FALSE(error_of(flipped).empty());
  }
}

TEST(VideoFile, Limits) {
  const Bytes bytes = file(kGoldens + "clip.mp4");
  const auto refuse = [&](auto change) {
    VideoOptions options;
    change(options.limits);
    const auto clip = decode_video(bytes, options);
    EXPECT_FALSE(clip.ok());
    if (clip.ok()) return std::string();
    EXPECT_EQ(clip.error().code(), StatusCode::kPayloadTooLarge);
    return clip.error().message();
  };
  EXPECT_THAT(refuse([](VideoLimits& l) { l.max_bytes = 1000; }), HasSubstr("at most"));
  EXPECT_THAT(refuse([](VideoLimits& l) { l.max_pixels = 1000; }), HasSubstr("96x72"));
  EXPECT_THAT(refuse([](VideoLimits& l) { l.max_seconds = 1; }), HasSubstr("at most 1.0 s"));
  EXPECT_THAT(refuse([](VideoLimits& l) { l.max_frame_bytes = 1000; }), HasSubstr("4 frames"));
}

// Programs that take the worker's place. Each test ends with the engine as it was: no child, no
// descriptor more.
class BadWorker : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = fs::temp_directory_path() /
            ("tutti_worker_" + std::to_string(getpid()) + "_" +
             ::testing::UnitTest::GetInstance()->current_test_info()->name());
    descriptors_ = count_descriptors();
  }
  void TearDown() override {
    fs::remove(path_);
    EXPECT_EQ(count_descriptors(), descriptors_);
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a child was left behind";
    EXPECT_EQ(errno, ECHILD);
  }

  static int64_t count_descriptors() {
    const fs::directory_iterator all("/proc/self/fd");
    return std::distance(fs::begin(all), fs::end(all));
  }

  std::string error_with(const std::string& script, double deadline_s = 20) {
    std::ofstream(path_) << "#!/bin/sh\nPATH=/usr/bin:/bin\n" << script << "\n";
    fs::permissions(path_, fs::perms::owner_all);
    VideoOptions options = with_sound();
    options.limits.deadline_s = deadline_s;
    options.worker = path_.string();
    const auto clip = decode_video(file(kGoldens + "clip.mp4"), options);
    if (clip.ok()) return "no error";
    code_ = clip.error().code();
    return clip.error().message();
  }

  fs::path path_;
  int64_t descriptors_ = 0;
  StatusCode code_ = StatusCode::kOk;
};

TEST_F(BadWorker, IsKilled) {
  EXPECT_THAT(error_with("kill -SEGV $$"), HasSubstr("its decoder was killed by signal 11"));
  EXPECT_EQ(code_, StatusCode::kInvalidArgument);
}

TEST_F(BadWorker, SleepsPastTheDeadline) {
  EXPECT_EQ(error_with("sleep 1000", 0.2), "decoding took longer than the 0.2 s that are allowed");
  EXPECT_EQ(code_, StatusCode::kDeadlineExceeded);
  // The same with its output closed, and with a child of its own that keeps it open.
  EXPECT_NE(error_with("exec >&-; sleep 1000", 0.2), "no error");
  EXPECT_NE(error_with("sleep 1000 & sleep 1000", 0.2), "no error");
}

TEST_F(BadWorker, EndsWithoutAWord) {
  EXPECT_EQ(error_with("exit 0"), "the decoder ended without a result");
  EXPECT_EQ(code_, StatusCode::kInternal);
}

TEST_F(BadWorker, SendsNonsense) {
  EXPECT_THAT(error_with("echo garbage garbage garbage"), HasSubstr("unknown kind"));
  // Done at once; a frame before the clip's size; samples before their rate; a sound of 5 bytes;
  // a clip of 2^31 - 1 frames; an error of 2^31 bytes.
  EXPECT_THAT(error_with(R"(printf '\006\000\000\000\000\000\000\000')"), HasSubstr("missing"));
  EXPECT_THAT(error_with(R"(printf '\002\000\000\000\377\377\377\177')"), HasSubstr("a frame"));
  EXPECT_THAT(error_with(R"(printf '\004\000\000\000\004\000\000\000abcd')"), HasSubstr("samples"));
  EXPECT_THAT(error_with(R"(printf '\003\000\000\000\005\000\000\000abcde')"),
              HasSubstr("another size"));
  EXPECT_THAT(
      error_with(R"(printf '\001\000\000\000\030\000\000\000\377\377\377\177'; yes | head -c 20)"),
      HasSubstr("past the limits"));
  EXPECT_THAT(error_with(R"(printf '\005\000\000\000\000\000\000\200')"), HasSubstr("an error of"));
}

// A finite sample that filters make infinite: 8 kHz, then -1.7e38.
TEST_F(BadWorker, SendsSamplesThatAreTooLarge) {
  EXPECT_THAT(error_with(R"(printf '\003\000\000\000\004\000\000\000\100\037\000\000')"
                         R"(; printf '\004\000\000\000\004\000\000\000\000\000\000\377')"),
              HasSubstr("the sound holds the sample -1.70141e+38; allowed are -1e+09 to 1e+09"));
}

TEST_F(BadWorker, SaysWhyInPrintableCharacters) {
  EXPECT_EQ(error_with(R"(printf '\005\000\000\000\006\000\000\000\001no\033\nx')"), "no??x");
  EXPECT_EQ(code_, StatusCode::kPayloadTooLarge);
}

TEST_F(BadWorker, IsMissing) {
  VideoOptions options;
  options.worker = "/no/such/worker";
  EXPECT_THAT(error_of(file(kGoldens + "clip.mp4"), options), HasSubstr("'/no/such/worker'"));
}

TEST_F(BadWorker, HasNoneOfTheEnginesEnvironment) {
  setenv("TUTTI_TEST_SECRET", "visible", 1);
  const std::string seen = error_with(
      "printf '\\005\\000\\000\\000\\012\\000\\000\\000\\000%.9s' "
      "\"x${TUTTI_TEST_SECRET}x........\"");
  unsetenv("TUTTI_TEST_SECRET");
  EXPECT_EQ(seen, "xx.......");
}

TEST_F(BadWorker, RunsBesideOthers) {
  const Bytes bytes = file(kGoldens + "clip.mp4");
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&bytes] {
      const auto clip = decode_video(bytes, with_sound());
      EXPECT_TRUE(clip.ok()) << clip.error().message();
    });
  }
}

}  // namespace
}  // namespace tutti
