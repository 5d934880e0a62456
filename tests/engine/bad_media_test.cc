// Media that cannot be used, through AsyncOmniEngine: each request is refused with one sentence
// that names the item, nothing was enqueued, the engine answers the next request as before, and
// what was taken for the item is given back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>
#include <zlib.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>

#include "tutti/async_omni_engine.h"

#include "base/json_file.h"
#include "media/media_test_util.h"

namespace tutti {
namespace {

namespace fs = std::filesystem;
using media_test::Bytes;
using media_test::bytes_of;
using media_test::encode_sound;
using media_test::little;
using media_test::prefix_of;
using media_test::sine;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kData = TUTTI_TEST_DATA;
const std::string kModel = kData + "/goldens/qwen3_omni_moe/checkpoint";
constexpr int kWav = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
constexpr int kFlac = SF_FORMAT_FLAC | SF_FORMAT_PCM_16;

Bytes file(const std::string& path) {
  std::ifstream in(kData + "/" + path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  EXPECT_FALSE(text.empty()) << path;
  return bytes_of(text);
}

std::string big(uint64_t value, size_t width) {
  std::string out = little(value, width);
  return {out.rbegin(), out.rend()};
}

std::string png_chunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  const auto crc =
      crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big(data.size(), 4) + body + big(crc, 4);
}

// A grey PNG whose pixels are `bytes` zeros, deflated; true to its size or not.
Bytes png_of_zeros(uint32_t width, uint32_t height, size_t bytes) {
  const std::string zeros(bytes, '\0');
  uLongf size = compressBound(bytes);
  std::string packed(size, '\0');
  compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
            reinterpret_cast<const Bytef*>(zeros.data()), bytes, Z_BEST_COMPRESSION);
  packed.resize(size);
  const std::string header = big(width, 4) + big(height, 4) + std::string("\x08\0\0\0\0", 5);
  return bytes_of("\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) + png_chunk("IDAT", packed) +
                  png_chunk("IEND", ""));
}

// Ten hours of silence that no header tells of: one frame of MPEG-2.5 layer III at 8 kbit/s over
// and over. 72 ms a frame; its bits are all zero, which decodes to silence.
Bytes ten_hours_of_mp3() {
  const std::string frame = std::string("\xFF\xE3\x18\xC4", 4) + std::string(68, '\0');
  std::string all;
  for (int i = 0; i < 36000 * 1000 / 72; ++i) all += frame;
  return bytes_of(all);
}

Bytes ten_hours_by_the_header() {
  Bytes flac = encode_sound(kFlac, 16000, 1, sine(300, 16000, 16000));
  const uint64_t samples = uint64_t{16000} * 36000;
  for (int i = 0; i < 4; ++i) flac[22 + i] = static_cast<std::byte>(samples >> (8 * (3 - i)));
  return flac;
}

// The checkpoint's config without one encoder, for weights that are drawn.
fs::path model_without(const char* encoder, const fs::path& dir) {
  fs::create_directories(dir);
  for (const auto& entry : fs::directory_iterator(kModel)) {
    const std::string name = entry.path().filename().string();
    if (name != "config.json" && !name.ends_with(".safetensors")) {
      fs::create_symlink(entry.path(), dir / name);
    }
  }
  auto config = read_json_object(fs::path(kModel) / "config.json");
  EXPECT_TRUE(config.ok());
  config->at("thinker_config").as_object().erase(encoder);
  config->insert_or_assign("enable_audio_output", false);
  std::ofstream(dir / "config.json") << boost::json::serialize(*config);
  return dir;
}

class BadMedia : public ::testing::Test {
 protected:
  void SetUp() override { start(kModel, "auto"); }

  void start(const std::string& model, const std::string& load_format) {
    EngineOptions options;
    options.load_format = load_format;
    options.num_threads = 2;
    auto made = AsyncOmniEngine::create(model, options);
    ASSERT_TRUE(made.ok()) << made.error().message();
    engine_ = std::move(*made);
  }

  static AddRequest request(MediaKind kind, Bytes bytes) {
    AddRequest request;
    request.request_id = "one";
    MediaItem item;
    item.kind = kind;
    item.bytes = std::make_shared<const Bytes>(std::move(bytes));
    ChatPrompt chat;
    chat.messages.push_back({"user", {{"", std::move(item)}, {"What is it?", {}}}, ""});
    request.prompt = std::move(chat);
    request.final_output_stage_ids = {0};
    request.sampling_params_list = std::vector<SamplingParams>(3);
    for (SamplingParams& params : request.sampling_params_list) {
      params.temperature = 0;
      params.max_tokens = 4;
      params.ignore_eos = true;
    }
    return request;
  }

  // The answer's tokens.
  std::vector<int32_t> answer(AddRequest request) {
    std::vector<int32_t> tokens;
    request.sampling_params_list.resize(static_cast<size_t>(engine_->num_stages()));
    const Status added = engine_->add_request(std::move(request));
    EXPECT_TRUE(added.ok()) << added.message();
    while (added.ok()) {
      const auto message = engine_->try_get_output(60);
      if (!message.ok() || !*message) {
        ADD_FAILURE() << "no answer";
        break;
      }
      const auto* output = std::get_if<OutputMessage>(&**message);
      if (output == nullptr) continue;
      tokens.insert(tokens.end(), output->output.token_ids.begin(), output->output.token_ids.end());
      if (output->finished) break;
    }
    return tokens;
  }

  std::string refused(AddRequest request) {
    request.sampling_params_list.resize(static_cast<size_t>(engine_->num_stages()));
    const Status status = engine_->add_request(std::move(request));
    EXPECT_FALSE(status.ok());
    EXPECT_TRUE(engine_->is_alive());
    EXPECT_TRUE(engine_->health().ok());
    const auto nothing = engine_->try_get_output(0);
    EXPECT_TRUE(nothing.ok() && !*nothing) << "a message of a request that was refused";
    EXPECT_EQ(std::ranges::count(status.message(), '\n'), 0);
    EXPECT_TRUE(status.message().ends_with('.')) << status.message();
    code_ = status.code();
    return status.message();
  }
  std::string refused(MediaKind kind, Bytes bytes) {
    return refused(request(kind, std::move(bytes)));
  }

  std::unique_ptr<AsyncOmniEngine> engine_;
  StatusCode code_ = StatusCode::kOk;
};

TEST_F(BadMedia, Pictures) {
  const Bytes png = file("goldens/media/photo_97x61.png");
  const Bytes wav = file("goldens/media/speech_short_16k.wav");
  EXPECT_EQ(refused(MediaKind::kImage, {}), "image 1: the file is empty (0 bytes).");
  EXPECT_THAT(refused(MediaKind::kImage, prefix_of(png, png.size() / 2)),
              StartsWith("image 1: the PNG picture is truncated or corrupt"));
  EXPECT_EQ(refused(MediaKind::kImage, wav),
            "image 1: the file holds a WAV sound, no picture that can be read; allowed are png, "
            "jpeg, webp, gif and bmp.");
  // 100 megapixels: whole, in 100 KB.
  const Bytes huge = png_of_zeros(10'000, 10'000, size_t{10'001} * 10'000);
  EXPECT_LT(huge.size(), 200'000u);
  EXPECT_EQ(refused(MediaKind::kImage, huge),
            "image 1: the picture is 10000x10000 (100.0 megapixels); at most 64.0 megapixels are "
            "allowed.");
  EXPECT_EQ(code_, StatusCode::kPayloadTooLarge);
  const Bytes gif = bytes_of("GIF89a\xFF\xFF\xFF\xFF" + std::string(3, '\0'));
  EXPECT_THAT(refused(MediaKind::kImage, gif), HasSubstr("65535x65535 (4294.8 megapixels)"));
  const Bytes webp = bytes_of("RIFF" + little(30, 4) + "WEBPVP8X" + little(10, 4) + little(0, 4) +
                              little(16382, 3) + little(16382, 3));
  EXPECT_THAT(refused(MediaKind::kImage, webp), HasSubstr("16383x16383 (268.4 megapixels)"));
}

TEST_F(BadMedia, Sounds) {
  const Bytes wav = file("goldens/media/speech_short_16k.wav");
  EXPECT_EQ(refused(MediaKind::kAudio, {}), "audio 1: the file is empty (0 bytes).");
  EXPECT_THAT(refused(MediaKind::kAudio, prefix_of(wav, wav.size() / 2)), HasSubstr("truncated"));
  EXPECT_THAT(refused(MediaKind::kAudio, file("goldens/media/photo_97x61.png")),
              StartsWith("audio 1: the file holds a PNG picture, no sound that can be read"));
  EXPECT_EQ(refused(MediaKind::kAudio, encode_sound(kWav, 16000, 1, {})),
            "audio 1: the sound has no samples.");
  EXPECT_EQ(refused(MediaKind::kAudio, ten_hours_by_the_header()),
            "audio 1: the sound lasts 36000.0 s; at most 3600.0 s are allowed.");
  EXPECT_EQ(code_, StatusCode::kPayloadTooLarge);
}

TEST_F(BadMedia, TenHoursThatNoHeaderTellsOf) {
  EXPECT_THAT(refused(MediaKind::kAudio, ten_hours_of_mp3()),
              StartsWith("audio 1: the sound lasts 3600."));
  EXPECT_EQ(code_, StatusCode::kPayloadTooLarge);
}

TEST_F(BadMedia, Clips) {
  const Bytes clip = file("goldens/media/clip.mp4");
  EXPECT_EQ(refused(MediaKind::kVideo, {}), "video 1: the file is empty (0 bytes).");
  EXPECT_THAT(refused(MediaKind::kVideo, prefix_of(clip, clip.size() / 2)),
              StartsWith("video 1: the container is truncated"));
  EXPECT_THAT(refused(MediaKind::kVideo, file("goldens/media/photo_97x61.png")),
              StartsWith("video 1: the file holds a PNG picture, no video that can be read"));
  EXPECT_EQ(refused(MediaKind::kVideo, file("media/speech.m4a")),
            "video 1: the container has no frames, only sound; at least one frame is needed.");
  AddRequest heard = request(MediaKind::kVideo, file("media/silent.mp4"));
  std::get<ChatPrompt>(heard.prompt).use_audio_in_video = true;
  EXPECT_EQ(refused(heard), "video 1: it has no sound, but `use_audio_in_video` asks for it.");
}

TEST_F(BadMedia, PlacesAndItems) {
  AddRequest twice = request(MediaKind::kImage, file("goldens/media/photo_97x61.png"));
  auto& messages = std::get<ChatPrompt>(twice.prompt).messages;
  // The template shows no messages of this role, and so no place for its picture.
  messages.insert(messages.begin(), {"developer", {messages[0].content[0]}, ""});
  EXPECT_EQ(refused(twice), "image 2: The prompt has places for 1 image item; 2 were given.");
  AddRequest raw = request(MediaKind::kImage, {});
  raw.prompt = TextPrompt{"see <|image_pad|>"};
  EXPECT_EQ(refused(raw), "The prompt has places for 1 image item; 0 were given.");
}

TEST_F(BadMedia, KindsThatTheModelDoesNotTake) {
  const fs::path dir = fs::temp_directory_path() / ("tutti_bad_media_" + std::to_string(getpid()));
  start(model_without("vision_config", dir / "deaf"), "dummy");
  EXPECT_EQ(refused(MediaKind::kImage, file("goldens/media/photo_97x61.png")),
            "image 1: this model takes no image.");
  EXPECT_EQ(refused(MediaKind::kVideo, file("goldens/media/clip.mp4")),
            "video 1: this model takes no video.");
  EXPECT_EQ(answer(request(MediaKind::kAudio, file("goldens/media/speech_short_16k.wav"))).size(),
            4u);
  start(model_without("audio_config", dir / "blind"), "dummy");
  EXPECT_EQ(refused(MediaKind::kAudio, file("goldens/media/speech_short_16k.wav")),
            "audio 1: this model takes no audio.");
  engine_.reset();
  fs::remove_all(dir);
}

// Bytes that malloc has handed out, whatever the allocator keeps of what came back.
size_t taken() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST_F(BadMedia, TheEngineLivesAndMemoryReturns) {
  const Bytes picture = file("goldens/media/photo_97x61.png");
  const auto good = [&] { return answer(request(MediaKind::kImage, picture)); };
  const std::vector<int32_t> before = good();
  EXPECT_EQ(before.size(), 4u);
  const Bytes clip = file("goldens/media/clip.mp4");
  const Bytes mp3 = ten_hours_of_mp3();
  const Bytes bomb =
      png_of_zeros(7'900, 7'900, 1'000'000);         // 62 megapixels, of which few are there
  const Bytes lie = png_of_zeros(1, 1, 50'000'000);  // 50 MB for one pixel
  const auto sweep = [&] {
    refused(MediaKind::kImage, bomb);
    (void)engine_->input_processor()->prompt_token_ids(
        request(MediaKind::kImage, lie).prompt);  // refused or not
    refused(MediaKind::kAudio, mp3);
    refused(MediaKind::kVideo, prefix_of(clip, 20'000));
  };
  sweep();
  const size_t first = taken();
  for (int i = 0; i < 2; ++i) sweep();
  // Sanitizers' allocators tell nothing here; what leaks is told at the end.
  if (first > 0) EXPECT_LT(taken(), first + 1'000'000);
  EXPECT_EQ(good(), before);
}

}  // namespace
}  // namespace tutti
