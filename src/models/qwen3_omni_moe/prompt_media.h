// PromptMedia: the sounds, pictures and clips of one prompt as the thinker takes them, and how they
// travel in payloads. A clip with its sound is two items, the frames first.
//
// Thread: plain data.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "tutti/request.h"

#include "models/media_hash.h"
#include "models/qwen3_omni_moe/config.h"
#include "models/stage_io.h"

namespace tutti::qwen3_omni_moe {

struct MediaInput {
  MediaKind kind = MediaKind::kImage;
  // Audio: log-mel [num_mel_bins, frames]; else patches [t * h * w, elements]. Undefined where only
  // the layout matters.
  Tensor features;
  std::array<int64_t, 3> grid_thw = {};  // audio: frames, 0, 0
  double second_per_grid = 0;            // of a clip: seconds between temporal patches
  MediaHash hash;

  // Placeholders in the prompt.
  int64_t rows(const ThinkerConfig& config) const;
};

struct PromptMedia {
  std::vector<MediaInput> items;  // of each kind in the order of the prompt
  bool audio_in_video = false;    // each clip's sound lies between its frames
};

int64_t placeholder_id(const ThinkerConfig& config, MediaKind kind);
// "audio", "image", "video".
const char* kind_name(MediaKind kind);

// Adds "media.shapes" [n, 4] I32 (kind, grid), "media.seconds" [n] F32, "media.hashes" [n, 4] I32,
// "media.options" [1] I32 and, with features, "media.features.N". Nothing when there are no items.
void put_media(const PromptMedia& media, bool with_features, StagePayload& payload);
// The same back. Error when tensors do not fit each other or the config.
Result<PromptMedia> take_media(const StagePayload& payload, const ThinkerConfig& config);

// Which item and which of its rows stands at each position: item -1 for text. Error when the
// placeholders of a kind are not as many as its items' rows.
struct MediaRow {
  int32_t item = -1;
  int32_t row = 0;
};
Result<std::vector<MediaRow>> locate_media(const ThinkerConfig& config,
                                           std::span<const int32_t> ids, const PromptMedia& media);

}  // namespace tutti::qwen3_omni_moe
