// Items of one request are decoded in parallel: the free functions of this room from several
// threads at once, each result as from one thread.
#include <gtest/gtest.h>

#include <thread>

#include "media/audio_file.h"
#include "media/image_features.h"
#include "media/image_file.h"
#include "media/media_test_util.h"
#include "media/mel.h"

namespace tutti {
namespace {

const std::string kMedia = TUTTI_TEST_DATA "/goldens/media/";

// Everything that one item goes through; the first elements of what comes out.
std::vector<float> features_of(const MelExtractor& extractor, const std::vector<std::byte>& mp3) {
  std::vector<float> out;
  const auto keep = [&](const Tensor& tensor) {
    out.insert(out.end(), tensor.data<float>(), tensor.data<float>() + tensor.num_elements());
  };
  for (const char* name : {"speech_24k.wav", "speech_short_16k.wav"}) {
    const auto samples = read_audio(kMedia + name, 16000);
    if (samples.ok()) keep(extractor.extract(*samples).value());
  }
  const auto samples = decode_audio(mp3, 16000);
  if (samples.ok()) keep(extractor.extract(*samples).value());
  for (const char* name : {"photo_97x61.png", "photo_211x130.jpg", "icon_64x200.png"}) {
    const auto rgb = read_image(kMedia + name);
    if (rgb.ok()) keep(image_patches(*rgb, {}).value().pixel_values);
  }
  return out;
}

TEST(Parallel, DecodingGivesTheSameOnEveryThread) {
  const auto extractor = MelExtractor::create({});
  ASSERT_TRUE(extractor.ok());
  const auto mp3 = media_test::encode_sound(SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III, 44100, 1,
                                            media_test::sine(440, 44100, 44100));
  const std::vector<float> want = features_of(*extractor, mp3);
  ASSERT_GT(want.size(), 100'000u);
  std::vector<std::vector<float>> got(4);
  {
    std::vector<std::jthread> threads;
    for (std::vector<float>& mine : got) {
      threads.emplace_back([&] { mine = features_of(*extractor, mp3); });
    }
  }
  for (const std::vector<float>& mine : got) EXPECT_EQ(mine, want);
}

}  // namespace
}  // namespace tutti
