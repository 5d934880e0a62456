// Log-mel features as transformers' WhisperFeatureExtractor computes them for the Qwen omni models:
// periodic Hann window, centred power spectrum with reflection at both ends, slaney mel filters,
// log10 clamped at 1e-10, floor 8 below the largest value, (x + 4) / 4.
//
// Thread: a MelExtractor is immutable; any number of threads may use one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tutti/status.h"

#include "tensor/tensor.h"

namespace tutti {

struct MelConfig {
  // What lies beyond the sound: nothing, so that the last frames see reflected samples, or silence
  // up to `max_samples`, before or after the sound.
  enum class Padding : uint8_t { kNone, kSilenceBefore, kSilenceAfter };

  int32_t sampling_rate = 16000;  // Hz
  int32_t n_fft = 400;            // samples of a window; even
  int32_t hop_length = 160;       // samples between frames
  int32_t num_mel_bins = 128;
  Padding padding = Padding::kNone;
  int64_t max_samples = 4'800'000;  // of a padded sound
};

class MelExtractor {
 public:
  // Error for sizes that make no filter bank.
  static Result<MelExtractor> create(const MelConfig& config);

  // F32 [num_mel_bins, frames]: the frames that lie inside the sound (the reference's mask).
  // Errors: fewer samples than one reflected window needs, more than max_samples where padded.
  Result<Tensor> extract(std::span<const float> samples) const;
  // F32 [n_fft / 2 + 1, num_mel_bins].
  Tensor filters() const;
  const MelConfig& config() const { return config_; }

 private:
  // The non-zero part of one mel filter.
  struct Band {
    int32_t first = 0;  // frequency bin
    std::vector<float> weights;
  };
  // Frames [first, last) of the padded sound, of which [first_kept, last_kept) are given out. The
  // others touch the sound from outside and count for the largest value only.
  struct FrameRange {
    int64_t first, last, first_kept, last_kept;
  };

  explicit MelExtractor(const MelConfig& config);
  FrameRange frames_of(int64_t offset, int64_t num_samples, int64_t padded) const;
  void log_spectrum(std::span<const float> samples, int64_t offset, int64_t padded, int64_t first,
                    int64_t last, float* out) const;

  MelConfig config_;
  std::vector<float> window_;
  std::vector<Band> bands_;
};

}  // namespace tutti
