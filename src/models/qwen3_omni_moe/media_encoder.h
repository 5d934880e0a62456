// MediaEncoder: turns the media of prompts into rows, with the towers of one thinker and a cache
// shared by its requests.
//
// Thread: the stage's replica thread, inside steps on the device. Owns: towers and cache.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "models/encoder_cache.h"
#include "models/qwen3_omni_moe/audio_tower.h"
#include "models/qwen3_omni_moe/prompt_media.h"
#include "models/qwen3_omni_moe/vision_tower.h"

namespace tutti::qwen3_omni_moe {

// An item of a running sequence: features until it is encoded, rows from then on.
struct MediaState {
  MediaInput input;
  std::shared_ptr<const EncodedMedia> encoded;
};

struct Towers {
  std::optional<AudioTower> audio;
  std::optional<VisionTower> vision;
};
Towers load_towers(WeightLoader& weights, const ThinkerConfig& config);

class MediaEncoder {
 public:
  MediaEncoder(const ThinkerConfig& config, Towers towers, int64_t cache_bytes)
      : config_(config), towers_(std::move(towers)), cache_(cache_bytes) {}

  // Fills `encoded` of the items, from the cache or with as few passes as bounded scratch memory
  // allows; equal items are encoded once.
  void encode(OpContext& ctx, std::span<MediaState* const> items, const Probe& probe);
  EncoderCache& cache() { return cache_; }

 private:
  void encode_kind(OpContext& ctx, MediaKind kind, std::span<MediaState* const> items,
                   const Probe& probe);
  void run(OpContext& ctx, std::span<MediaState* const> items, const Probe& probe);
  void run_audio(OpContext& ctx, std::span<MediaState* const> items, const Tensor& rows,
                 const Probe& probe) const;
  void run_vision(OpContext& ctx, std::span<MediaState* const> items, const Tensor& rows,
                  std::span<const Tensor> deepstack, const Probe& probe) const;

  ThinkerConfig config_;
  Towers towers_;
  EncoderCache cache_;
};

}  // namespace tutti::qwen3_omni_moe
