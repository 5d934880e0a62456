// MediaProcessor: content parts to features and placeholders, as the reference's processor makes
// them: sounds to log-mel frames, pictures and clips to patches.
//
// Thread: immutable; any thread. The items of a prompt are decoded by several threads at once.
// Errors name the item: "audio 2: ...", counted by kind from 1.
#pragma once

#include <string>
#include <vector>

#include "media/media_source.h"
#include "media/preprocessor_config.h"
#include "models/qwen3_omni_moe/prompt_media.h"

namespace tutti::qwen3_omni_moe {

class MediaProcessor {
 public:
  // Error when the directory's settings do not fit the encoders.
  static Result<MediaProcessor> create(const PreprocessorConfig& settings,
                                       const ThinkerConfig& config, MediaSources sources = {});

  // Features of all media parts, in order.
  Result<PromptMedia> features(const ChatPrompt& prompt) const;

 private:
  MediaProcessor(const PreprocessorConfig& settings, const ThinkerConfig& config,
                 MelExtractor extractor, MediaSources sources)
      : settings_(settings),
        config_(config),
        extractor_(std::move(extractor)),
        sources_(std::move(sources)) {}

  // One part's items: a clip with sound has two.
  Result<std::vector<MediaInput>> process(const MediaItem& item, bool audio_in_video) const;
  Result<MediaInput> audio(std::span<const float> samples) const;
  Result<MediaInput> image(const Tensor& rgb) const;
  // A file's frames, at the size that the encoder takes, and its sound.
  Result<Clip> decode(const MediaItem& item, bool with_sound) const;
  Result<std::vector<MediaInput>> video(const MediaItem& item, bool audio_in_video) const;

  PreprocessorConfig settings_;
  ThinkerConfig config_;
  MelExtractor extractor_;
  MediaSources sources_;
};

// Token ids with one placeholder per item to ids with one for each of its rows; a clip's sound is
// laid between its frames, inside marks of its own. Error when there are more or fewer items than
// places.
Result<std::vector<int32_t>> expand_placeholders(const ThinkerConfig& config,
                                                 std::span<const int32_t> ids,
                                                 const PromptMedia& media);

}  // namespace tutti::qwen3_omni_moe
