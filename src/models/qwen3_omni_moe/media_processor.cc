#include "models/qwen3_omni_moe/media_processor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <thread>

#include "base/thread.h"
#include "media/audio_file.h"
#include "media/clip.h"
#include "media/image_file.h"
#include "media/video_file.h"

namespace tutti::qwen3_omni_moe {

namespace {

constexpr size_t kMostThreads = 8;
// Limits of a clip's frames that the reference's processor class sets over the files' own.
constexpr int64_t kVideoMinPixels = 128 * 32 * 32;
constexpr int64_t kVideoMaxPixels = 768 * 32 * 32;

// Calls use(bytes) with what the item is made of.
template <typename Use>
auto with_bytes(const MediaItem& item, int64_t max_bytes, const MediaSources& sources, Use use)
    -> decltype(use(std::span<const std::byte>())) {
  if (item.bytes != nullptr) return use(std::span<const std::byte>(*item.bytes));
  TUTTI_ASSIGN_OR_RETURN(const auto bytes, read_media_source(item, max_bytes, sources));
  return use(std::span<const std::byte>(bytes));
}

// Runs job(i) for i in [0, n) on a few threads; an exception is that job's error.
template <typename Job>
void run_jobs(size_t n, std::vector<Status>& errors, const Job& job) {
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < n; i = next++) {
      try {
        errors[i] = job(i);
      } catch (const std::exception& e) {
        errors[i] = internal_error(fmt::format("decoding failed: {}", e.what()));
      }
    }
  };
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::jthread> helpers;
  for (size_t t = 1; t < std::min({n, cores, kMostThreads}); ++t) {
    helpers.emplace_back([&] {
      set_thread_name("media");
      work();
    });
  }
  work();
}

}  // namespace

Result<MediaProcessor> MediaProcessor::create(const PreprocessorConfig& settings,
                                              const ThinkerConfig& config, MediaSources sources) {
  TUTTI_ASSIGN_OR_RETURN(MelExtractor extractor, MelExtractor::create(settings.mel));
  if (config.audio && settings.mel.num_mel_bins != config.audio->num_mel_bins) {
    return invalid_argument(
        fmt::format("The preprocessor makes {} mel bins; the audio encoder takes {}.",
                    settings.mel.num_mel_bins, config.audio->num_mel_bins));
  }
  for (const PatchConfig* patches : {&settings.image, &settings.video}) {
    if (!config.vision) continue;
    const VisionConfig& vision = *config.vision;
    if (patches->patch_size != vision.patch_size ||
        patches->merge_size != vision.spatial_merge_size ||
        patches->temporal_patch_size != vision.temporal_patch_size || vision.in_channels != 3) {
      return invalid_argument(fmt::format(
          "The preprocessor makes patches of {}x{} pixels and {} frames, merged by {}; the vision "
          "encoder takes {}x{}, {} and {}, of 3 channels.",
          patches->patch_size, patches->patch_size, patches->temporal_patch_size,
          patches->merge_size, vision.patch_size, vision.patch_size, vision.temporal_patch_size,
          vision.spatial_merge_size));
    }
  }
  MediaProcessor processor(settings, config, std::move(extractor), std::move(sources));
  processor.settings_.video.min_pixels = kVideoMinPixels;
  processor.settings_.video.max_pixels = kVideoMaxPixels;
  return processor;
}

Result<PromptMedia> MediaProcessor::features(const ChatPrompt& prompt) const {
  std::vector<const MediaItem*> parts;
  std::vector<std::string> paths;
  for (size_t m = 0; m < prompt.messages.size(); ++m) {
    const std::vector<ContentPart>& content = prompt.messages[m].content;
    for (size_t c = 0; c < content.size(); ++c) {
      if (!content[c].media) continue;
      parts.push_back(&*content[c].media);
      paths.push_back(fmt::format("messages[{}].content[{}]", m, c));
    }
  }
  std::vector<std::vector<MediaInput>> made(parts.size());
  std::vector<Status> errors(parts.size());
  run_jobs(parts.size(), errors, [&](size_t i) -> Status {
    TUTTI_ASSIGN_OR_RETURN(made[i], process(*parts[i], prompt.use_audio_in_video));
    return Status();
  });
  PromptMedia media;
  media.audio_in_video = prompt.use_audio_in_video;
  std::array<int, 3> count = {};
  for (size_t i = 0; i < parts.size(); ++i) {
    const int number = ++count[static_cast<size_t>(parts[i]->kind)];
    if (!errors[i].ok()) {
      return Status(errors[i].code(), fmt::format("{} {}: {}.", kind_name(parts[i]->kind), number,
                                                  errors[i].message()))
          .with_param(paths[i]);
    }
    for (MediaInput& item : made[i]) media.items.push_back(std::move(item));
  }
  return media;
}

Result<std::vector<MediaInput>> MediaProcessor::process(const MediaItem& item,
                                                        bool audio_in_video) const {
  const bool heard = item.kind == MediaKind::kAudio;
  if (heard ? !config_.audio : !config_.vision) {
    return invalid_argument(fmt::format("this model takes no {}", kind_name(item.kind)));
  }
  if (item.kind == MediaKind::kVideo) return video(item, audio_in_video);
  std::vector<MediaInput> out(1);
  if (heard) {
    const AudioLimits limits;
    TUTTI_ASSIGN_OR_RETURN(const auto samples,
                           with_bytes(item, limits.max_bytes, sources_, [&](auto bytes) {
                             return decode_audio(bytes, settings_.mel.sampling_rate, limits);
                           }));
    TUTTI_ASSIGN_OR_RETURN(out[0], audio(samples));
    return out;
  }
  const ImageLimits limits;
  TUTTI_ASSIGN_OR_RETURN(const Tensor rgb,
                         with_bytes(item, limits.max_bytes, sources_,
                                    [&](auto bytes) { return decode_image(bytes, limits); }));
  TUTTI_ASSIGN_OR_RETURN(out[0], image(rgb));
  return out;
}

Result<MediaInput> MediaProcessor::audio(std::span<const float> samples) const {
  MediaInput out;
  out.kind = MediaKind::kAudio;
  TUTTI_ASSIGN_OR_RETURN(out.features, extractor_.extract(samples));
  out.grid_thw = {out.features.dim(1), 0, 0};
  out.hash = hash_media(out.features, std::array{static_cast<int64_t>(out.kind)});
  return out;
}

namespace {

MediaInput vision_input(MediaKind kind, Patches patches, double second_per_grid) {
  MediaInput out;
  out.kind = kind;
  out.features = std::move(patches.pixel_values);
  out.grid_thw = patches.grid_thw;
  out.second_per_grid = second_per_grid;
  // Encoders do not see the time between frames.
  out.hash = hash_media(out.features, std::array{static_cast<int64_t>(kind), out.grid_thw[0],
                                                 out.grid_thw[1], out.grid_thw[2]});
  return out;
}

}  // namespace

Result<MediaInput> MediaProcessor::image(const Tensor& rgb) const {
  TUTTI_ASSIGN_OR_RETURN(Patches patches, image_patches(rgb, settings_.image));
  return vision_input(MediaKind::kImage, std::move(patches), 0);
}

Result<Clip> MediaProcessor::decode(const MediaItem& item, bool with_sound) const {
  const PatchConfig& patches = settings_.video;
  VideoOptions options;
  options.sampling = settings_.sampling;
  options.with_sound = with_sound;
  options.sample_rate = settings_.mel.sampling_rate;
  options.kept_size = [&patches](Size size) {
    return smart_resize(size, int64_t{patches.patch_size} * patches.merge_size, patches.min_pixels,
                        patches.max_pixels);
  };
  return with_bytes(item, options.limits.max_bytes, sources_,
                    [&](auto bytes) { return decode_video(bytes, options); });
}

Result<std::vector<MediaInput>> MediaProcessor::video(const MediaItem& item,
                                                      bool audio_in_video) const {
  if (audio_in_video && !config_.audio) return invalid_argument("this model takes no audio");
  Clip decoded;
  if (item.clip == nullptr) {
    TUTTI_ASSIGN_OR_RETURN(decoded, decode(item, audio_in_video));
  }
  const Clip& clip = item.clip != nullptr ? *item.clip : decoded;
  if (!clip.frames.defined() || clip.frames.rank() != 4 || clip.frames.dim(0) < 1) {
    return invalid_argument("it has no frames; at least one is needed");
  }
  if (!(clip.fps > 0)) return invalid_argument("its frames a second are not a positive number");
  if (audio_in_video && clip.samples.empty()) {
    return invalid_argument("it has no sound, but `use_audio_in_video` asks for it");
  }
  PatchConfig config = settings_.video;
  config.min_pixels = clip.min_pixels.value_or(config.min_pixels);
  config.max_pixels = clip.max_pixels.value_or(config.max_pixels);
  TUTTI_ASSIGN_OR_RETURN(Patches patches, video_patches(clip.frames, config));
  const double seconds = static_cast<double>(config.temporal_patch_size) / clip.fps;
  std::vector<MediaInput> out;
  out.push_back(vision_input(item.kind, std::move(patches), seconds));
  if (!audio_in_video) return out;
  TUTTI_ASSIGN_OR_RETURN(MediaInput sound, audio(clip.samples));
  out.push_back(std::move(sound));
  return out;
}

namespace {

// Items of a prompt, taken kind by kind.
class Items {
 public:
  Items(const ThinkerConfig& config, const PromptMedia& media) : config_(config) {
    const MediaInput* clip = nullptr;
    for (const MediaInput& item : media.items) {
      const bool of_clip =
          media.audio_in_video && clip != nullptr && item.kind == MediaKind::kAudio;
      of(of_clip ? kSounds : static_cast<size_t>(item.kind)).push_back(&item);
      clip = item.kind == MediaKind::kVideo ? &item : nullptr;
    }
  }

  // Error unless there are as many places of each kind as items.
  Status check(std::span<const int32_t> ids) const {
    for (const MediaKind kind : {MediaKind::kAudio, MediaKind::kImage, MediaKind::kVideo}) {
      const auto places =
          static_cast<size_t>(std::ranges::count(ids, placeholder_id(config_, kind)));
      const size_t given = items_[static_cast<size_t>(kind)].size();
      if (places == given) continue;
      const std::string name = kind_name(kind);
      const std::string item =
          given > places ? fmt::format("{} {}: ", name, places + 1) : std::string();
      return invalid_argument(fmt::format("{}The prompt has places for {} {} item{}; {} {} given.",
                                          item, places, name, places == 1 ? "" : "s", given,
                                          given == 1 ? "was" : "were"))
          .with_param("messages");
    }
    return Status();
  }

  const MediaInput& next(size_t queue) { return *items_[queue][used_[queue]++]; }
  static constexpr size_t kSounds = 3;  // of clips

 private:
  std::vector<const MediaInput*>& of(size_t queue) { return items_[queue]; }

  const ThinkerConfig& config_;
  std::array<std::vector<const MediaInput*>, 4> items_;
  std::array<size_t, 4> used_ = {};
};

// Frames' and sound's placeholders by time, the frames first where times are equal. A row of sound
// is one position; the times of frames are in positions, too.
void merge_placeholders(const ThinkerConfig& config, const MediaInput& clip,
                        const MediaInput& sound, std::vector<int32_t>& out) {
  const auto video_id = static_cast<int32_t>(config.video_token_id);
  const auto audio_id = static_cast<int32_t>(config.audio_token_id);
  const int64_t seen = clip.rows(config), heard = sound.rows(config);
  const int64_t frame_rows = seen / clip.grid_thw[0];
  int64_t v = 0, a = 0;
  while (v < seen && a < heard) {
    const double time =
        static_cast<double>(v / frame_rows) * clip.second_per_grid * config.position_id_per_seconds;
    const bool frame_first = time <= static_cast<double>(a);
    out.push_back(frame_first ? video_id : audio_id);
    ++(frame_first ? v : a);
  }
  out.insert(out.end(), static_cast<size_t>(seen - v), video_id);
  out.insert(out.end(), static_cast<size_t>(heard - a), audio_id);
}

}  // namespace

Result<std::vector<int32_t>> expand_placeholders(const ThinkerConfig& config,
                                                 std::span<const int32_t> ids,
                                                 const PromptMedia& media) {
  Items items(config, media);
  TUTTI_RETURN_IF_ERROR(items.check(ids));
  std::vector<int32_t> out;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!config.is_media_token(ids[i])) {
      out.push_back(ids[i]);
      continue;
    }
    const MediaKind kind = ids[i] == config.audio_token_id   ? MediaKind::kAudio
                           : ids[i] == config.image_token_id ? MediaKind::kImage
                                                             : MediaKind::kVideo;
    const MediaInput& item = items.next(static_cast<size_t>(kind));
    if (kind != MediaKind::kVideo || !media.audio_in_video) {
      out.insert(out.end(), static_cast<size_t>(item.rows(config)), ids[i]);
      continue;
    }
    if (i == 0 || i + 1 == ids.size() || ids[i - 1] != config.vision_start_token_id ||
        ids[i + 1] != config.vision_end_token_id) {
      return invalid_argument("A video's place in the prompt is not between its two marks.");
    }
    out.push_back(static_cast<int32_t>(config.audio_start_token_id));
    merge_placeholders(config, item, items.next(Items::kSounds), out);
    out.push_back(static_cast<int32_t>(config.audio_end_token_id));
  }
  return out;
}

}  // namespace tutti::qwen3_omni_moe
