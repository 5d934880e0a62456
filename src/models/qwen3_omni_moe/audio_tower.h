// AudioTower: log-mel frames of sounds to rows of the thinker's width.
//
// A sound is cut into chunks of 2 n_window frames. Each goes through three strided convolutions and
// gets sinusoidal positions of its own; the chunks of a window of n_window_infer frames attend to
// each other. A last chunk beside full ones is padded with silence before the convolutions. All of
// it as Qwen3OmniMoeAudioEncoder of transformers computes it for a sound alone.
// Thread: immutable; any thread. Invariant: a sound's rows do not depend on the others.
#pragma once

#include <span>
#include <vector>

#include "layers/encoder_block.h"
#include "models/probe.h"
#include "models/qwen3_omni_moe/config.h"
#include "weights/weight_loader.h"

namespace tutti::qwen3_omni_moe {

class AudioTower {
 public:
  // "thinker.audio_tower....".
  static AudioTower load(WeightLoader& weights, const AudioConfig& config);

  // mels [num_mel_bins, frames] F32, frames >= 1; rows [config.rows(frames) of all, output_dim],
  // one sound after the other. Probes: "audio.layer.N", "audio.embeds".
  void forward(OpContext& ctx, std::span<const Tensor> mels, const Tensor& rows,
               const Probe& probe) const;

 private:
  struct Conv {
    Tensor weight;  // [Cout, 3, 3, Cin]: time, frequency
    Tensor bias;
  };
  void embed(OpContext& ctx, const Tensor& mel, const Tensor& x) const;
  void embed_chunks(OpContext& ctx, const Tensor& mel, int64_t first, int64_t count, int64_t frames,
                    const Tensor& out) const;
  Segments windows(OpContext& ctx, std::span<const Tensor> mels) const;

  AudioConfig config_;
  Conv convs_[3];
  Linear conv_out_;
  Tensor positions_;  // [rows of a chunk, d_model]
  std::vector<EncoderBlock> layers_;
  LayerNorm ln_post_;
  Linear proj1_;
  Linear proj2_;
};

}  // namespace tutti::qwen3_omni_moe
