#include "models/qwen3_omni_moe/media_processor.h"

#include <gmock/gmock.h>

#include <fstream>

#include "media/clip.h"
#include "media/http_server_test_util.h"
#include "models/qwen3_omni_moe/test_util.h"

namespace tutti::qwen3_omni_moe {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class MediaProcessorTest : public CheckpointTest {
 protected:
  static std::string media(const std::string& name) {
    return std::string(TUTTI_TEST_DATA) + "/goldens/media/" + name;
  }
  static std::shared_ptr<const Clip> clip(int64_t frames, std::vector<float> samples) {
    auto out = std::make_shared<Clip>();
    out->frames = Tensor::zeros({frames, 40, 60, 3}, DType::kU8);
    out->fps = 2;
    out->samples = std::move(samples);
    out->min_pixels = 1024;
    return out;
  }
  static ChatPrompt chat(const std::vector<MediaItem>& items) {
    ChatPrompt prompt;
    ChatMessage& message = prompt.messages.emplace_back();
    message.role = "user";
    for (const MediaItem& item : items) message.content.push_back({"", item});
    message.content.push_back({"Well?", {}});
    return prompt;
  }
  Status status_of(const ChatPrompt& prompt) { return pipeline_->process_prompt(prompt).status(); }
  std::string error_of(const std::vector<MediaItem>& items) {
    const Status status = status_of(chat(items));
    if (!status.ok()) EXPECT_THAT(status.param(), StartsWith("messages"));
    return status.message();
  }
  int64_t count(const StageInput& input, int64_t id) const {
    return std::ranges::count(input.payload.token_ids, id);
  }
};

TEST_F(MediaProcessorTest, OnePlaceholderForEachRow) {
  const auto input = pipeline_->process_prompt(
      chat({MediaItem::file(MediaKind::kImage, media("photo_97x61.png")),
            MediaItem::file(MediaKind::kAudio, media("speech_short_16k.wav")),
            MediaItem::file(MediaKind::kImage, media("icon_64x200.png"))}));
  ASSERT_TRUE(input.ok()) << input.error().message();
  EXPECT_EQ(count(*input, config_.thinker.image_token_id), 6 + 12);
  EXPECT_EQ(count(*input, config_.thinker.audio_token_id), 41);
}

TEST_F(MediaProcessorTest, AVideoFileIsAsItsFramesAndSound) {
  const auto fed = [&](const MediaItem& item, bool with_sound) {
    ChatPrompt prompt = chat({item});
    prompt.use_audio_in_video = with_sound;
    const auto input = pipeline_->process_prompt(prompt);
    EXPECT_TRUE(input.ok()) << input.error().message();
    return input.ok() ? input->payload.token_ids : std::vector<int32_t>();
  };
  MediaItem frames;
  frames.kind = MediaKind::kVideo;
  auto decoded = std::make_shared<Clip>();
  decoded->frames = Tensor::zeros({4, 72, 96, 3}, DType::kU8);
  decoded->fps = 2;
  decoded->samples.assign(32000, 0.1f);
  frames.clip = decoded;
  const MediaItem file = MediaItem::file(MediaKind::kVideo, media("clip.mp4"));
  EXPECT_EQ(fed(file, false), fed(frames, false));
  EXPECT_EQ(fed(file, true), fed(frames, true));
}

TEST_F(MediaProcessorTest, NamesTheVideoThatCannotBeUsed) {
  const std::string files = std::string(TUTTI_TEST_DATA) + "/media/";
  const MediaItem whole = MediaItem::file(MediaKind::kVideo, media("clip.mp4"));
  EXPECT_THAT(error_of({whole, MediaItem::file(MediaKind::kVideo, files + "speech.m4a")}),
              StartsWith("video 2: the container has no frames"));
  EXPECT_THAT(error_of({MediaItem::file(MediaKind::kVideo, media("photo_97x61.png"))}),
              StartsWith("video 1: the file holds a PNG picture"));
  EXPECT_THAT(error_of({MediaItem::file(MediaKind::kVideo, "/nowhere/clip.mp4")}),
              StartsWith("video 1: "));
  ChatPrompt prompt = chat({MediaItem::file(MediaKind::kVideo, files + "silent.mp4")});
  EXPECT_TRUE(status_of(prompt).ok());
  prompt.use_audio_in_video = true;
  EXPECT_THAT(status_of(prompt).message(), StartsWith("video 1: it has no sound"));
}

TEST_F(MediaProcessorTest, FilesBytesAndDataUrlsAreTheSame) {
  std::ifstream file(media("photo_97x61.png"), std::ios::binary);
  const std::string content((std::istreambuf_iterator<char>(file)),
                            std::istreambuf_iterator<char>());
  const auto* begin = reinterpret_cast<const std::byte*>(content.data());
  MediaItem bytes{MediaKind::kImage, ""};
  bytes.bytes = std::make_shared<std::vector<std::byte>>(begin, begin + content.size());
  const auto hashes = [&](const MediaItem& item) {
    const auto input = pipeline_->process_prompt(chat({item}));
    EXPECT_TRUE(input.ok()) << input.error().message();
    return take_media(input->payload, config_.thinker)->items[0].hash;
  };
  const MediaHash hash = hashes(MediaItem::file(MediaKind::kImage, media("photo_97x61.png")));
  EXPECT_EQ(hashes(bytes), hash);
  EXPECT_NE(hashes(MediaItem::file(MediaKind::kImage, media("photo_211x130.jpg"))), hash);
  // One red pixel.
  const std::string url =
      "data:image/png;base64,"
      "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/"
      "pLvAAAAAElFTkSuQmCC";
  EXPECT_NE(hashes({MediaKind::kImage, url}), hash);
}

TEST_F(MediaProcessorTest, SourcesMustBeAllowed) {
  const auto url = [&](const std::string& from) { return error_of({{MediaKind::kImage, from}}); };
  EXPECT_EQ(url("https://example.org/a.png"),
            "image 1: the URL's host is 'example.org'; URLs are off unless the operator allows "
            "domains.");
  EXPECT_EQ(url("file:///etc/a.png"),
            "image 1: it is a file:// URL; those are off unless the operator allows a path.");
  EXPECT_THAT(url(media("photo_97x61.png")), HasSubstr("photo_97x61.png' is a path, not a URL"));
  EXPECT_THAT(url("s3://bucket/a.png"), HasSubstr("scheme 's3'; allowed are data, http, https"));
}

TEST_F(MediaProcessorTest, ReadsWhatTheOperatorAllows) {
  std::ifstream file(media("photo_97x61.png"), std::ios::binary);
  const std::string content((std::istreambuf_iterator<char>(file)),
                            std::istreambuf_iterator<char>());
  const testing::HttpServer server(testing::http_ok(content));
  MediaSources sources;
  sources.directory = media("");
  sources.urls.allowed_domains = {"127.0.0.1"};
  sources.urls.allowed_address = [](const IpAddress&) { return true; };
  const auto settings = load_preprocessor_config(golden_checkpoint().string());
  const auto processor = MediaProcessor::create(*settings, config_.thinker, sources);
  ASSERT_TRUE(processor.ok()) << processor.error().message();
  const auto hash_of = [&](const MediaItem& item) {
    const auto made = processor->features(chat({item}));
    EXPECT_TRUE(made.ok()) << made.error().message();
    return made.ok() ? made->items[0].hash : MediaHash();
  };
  const MediaHash hash = hash_of(MediaItem::file(MediaKind::kImage, media("photo_97x61.png")));
  EXPECT_EQ(hash_of({MediaKind::kImage, server.url("/photo.png")}), hash);
  EXPECT_EQ(hash_of({MediaKind::kImage, "file://" + media("photo_97x61.png")}), hash);
  const auto outside =
      processor->features(chat({{MediaKind::kImage, "file://" + media("../config.json")}}));
  ASSERT_FALSE(outside.ok());
  EXPECT_THAT(outside.error().message(), StartsWith("image 1: '"));
  EXPECT_THAT(outside.error().message(), HasSubstr("not below the path"));
}

TEST_F(MediaProcessorTest, SoundLiesBetweenFrames) {
  MediaItem item{MediaKind::kVideo, ""};
  item.clip = clip(4, std::vector<float>(32000, 0.1f));
  ChatPrompt prompt =
      chat({item, MediaItem::file(MediaKind::kAudio, media("speech_short_16k.wav"))});
  prompt.use_audio_in_video = true;
  const auto input = pipeline_->process_prompt(prompt);
  ASSERT_TRUE(input.ok()) << input.error().message();
  const auto& ids = input->payload.token_ids;
  const ThinkerConfig& t = config_.thinker;
  EXPECT_EQ(count(*input, t.audio_token_id), 26 + 41);
  const auto at = std::ranges::find(ids, static_cast<int32_t>(t.vision_start_token_id));
  ASSERT_NE(at, ids.end());
  EXPECT_EQ(at[1], t.audio_start_token_id);
  EXPECT_EQ(at[2], t.video_token_id);
  const int64_t per_frame = count(*input, t.video_token_id) / 2;
  // The second temporal patch is 13 positions after the first.
  for (int64_t i = 0; i < per_frame; ++i) EXPECT_EQ(at[2 + per_frame + 13 + i], t.video_token_id);
  EXPECT_EQ(at[2 + per_frame + 12], t.audio_token_id);
  EXPECT_EQ(at[2 + 2 * per_frame + 26], t.audio_end_token_id);
  EXPECT_EQ(at[2 + 2 * per_frame + 27], t.vision_end_token_id);
}

// 2 / 1.3 seconds are 20 positions but for rounding: what is compared are doubles, as in the
// reference, where in floats the sound's row would come first.
TEST_F(MediaProcessorTest, TimesOfFramesAreComparedInDouble) {
  MediaInput frames;
  frames.kind = MediaKind::kVideo;
  frames.grid_thw = {2, 2, 2};
  frames.second_per_grid = 2.0 / 1.3;
  MediaInput sound;
  sound.kind = MediaKind::kAudio;
  sound.grid_thw = {200, 0, 0};
  const ThinkerConfig& t = config_.thinker;
  const std::vector<int32_t> ids = {static_cast<int32_t>(t.vision_start_token_id),
                                    static_cast<int32_t>(t.video_token_id),
                                    static_cast<int32_t>(t.vision_end_token_id)};
  const auto out = expand_placeholders(t, ids, {{frames, sound}, true});
  ASSERT_TRUE(out.ok()) << out.error().message();
  EXPECT_EQ((*out)[2], t.video_token_id);
  EXPECT_EQ((*out)[2 + 1 + 20], t.video_token_id);
}

TEST_F(MediaProcessorTest, ErrorsNameTheItem) {
  const MediaItem good = MediaItem::file(MediaKind::kImage, media("photo_97x61.png"));
  const MediaItem sound = MediaItem::file(MediaKind::kAudio, media("speech_short_16k.wav"));
  EXPECT_THAT(error_of({good, sound, MediaItem::file(MediaKind::kImage, "/nowhere.png")}),
              StartsWith("image 2: "));
  EXPECT_THAT(error_of({MediaItem::file(MediaKind::kAudio, media("photo_97x61.png"))}),
              StartsWith("audio 1: "));
  EXPECT_THAT(error_of({{MediaKind::kImage, ""}}), HasSubstr("neither a path, a URL nor bytes"));
  EXPECT_THAT(error_of({{MediaKind::kAudio, "data:audio/wav;base64,"}}), StartsWith("audio 1: "));
  EXPECT_EQ(status_of(chat({MediaItem::file(MediaKind::kVideo, media("a.mp4"))})).code(),
            StatusCode::kNotFound);
}

TEST_F(MediaProcessorTest, ClipsNeedFramesAndTheSoundThatIsAskedFor) {
  MediaItem item{MediaKind::kVideo, ""};
  item.clip = std::make_shared<Clip>();
  EXPECT_THAT(error_of({item}), StartsWith("video 1: it has no frames"));
  item.clip = clip(3, {});
  EXPECT_TRUE(status_of(chat({item})).ok());
  ChatPrompt prompt = chat({item});
  prompt.use_audio_in_video = true;
  EXPECT_THAT(status_of(prompt).message(), StartsWith("video 1: it has no sound"));
  auto still = std::make_shared<Clip>(*clip(3, {}));
  still->fps = 0;
  item.clip = still;
  EXPECT_THAT(error_of({item}), HasSubstr("frames a second"));
}

TEST_F(MediaProcessorTest, ItemsAndPlacesMustBeAsMany) {
  const auto error = [&](const std::vector<int32_t>& ids, const PromptMedia& media) {
    const auto out = expand_placeholders(config_.thinker, ids, media);
    return out.ok() ? "" : out.error().message();
  };
  const auto image = static_cast<int32_t>(config_.thinker.image_token_id);
  MediaInput picture;
  picture.grid_thw = {1, 2, 2};
  EXPECT_EQ(error({1, image}, {{picture}}), "");
  EXPECT_EQ(error({1, image}, {{picture, picture}}),
            "image 2: The prompt has places for 1 image item; 2 were given.");
  EXPECT_EQ(error({image, image, image}, {{picture}}),
            "The prompt has places for 3 image items; 1 was given.");
  EXPECT_EQ(pipeline_->process_prompt(TextPrompt{"see <|image_pad|>"}).error().message(),
            "The prompt has places for 1 image item; 0 were given.");
}

TEST_F(MediaProcessorTest, SettingsMustFitTheEncoders) {
  auto settings = load_preprocessor_config(golden_checkpoint().string());
  ASSERT_TRUE(settings.ok());
  EXPECT_TRUE(MediaProcessor::create(*settings, config_.thinker).ok());
  PreprocessorConfig other = *settings;
  other.mel.num_mel_bins = 80;
  EXPECT_THAT(MediaProcessor::create(other, config_.thinker).error().message(),
              HasSubstr("makes 80 mel bins; the audio encoder takes 128"));
  other = *settings;
  other.video.patch_size = 14;
  EXPECT_THAT(MediaProcessor::create(other, config_.thinker).error().message(),
              HasSubstr("14x14 pixels"));
}

}  // namespace
}  // namespace tutti::qwen3_omni_moe
