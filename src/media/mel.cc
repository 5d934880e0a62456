#include "media/mel.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <kissfft/kissfft.hh>
#include <numbers>

#include "media/media_file.h"

namespace tutti {
namespace {

// Slaney's mel scale: linear to 1 kHz (15 mels), then 27 mels per factor of 6.4.
constexpr double kBreakHz = 1000.0;
constexpr double kBreakMel = 15.0;
constexpr double kMelPerHz = 3.0 / 200.0;
const double kMelPerLogHz = 27.0 / std::log(6.4);

double hz_to_mel(double hz) {
  return hz < kBreakHz ? hz * kMelPerHz : kBreakMel + std::log(hz / kBreakHz) * kMelPerLogHz;
}

double mel_to_hz(double mel) {
  return mel < kBreakMel ? mel / kMelPerHz : kBreakHz * std::exp((mel - kBreakMel) / kMelPerLogHz);
}

// Corner frequencies in Hz of `bins` triangles that share corners, evenly spaced in mel.
std::vector<double> filter_corners(int32_t bins, double highest_hz) {
  std::vector<double> corners(bins + 2);
  const double highest = hz_to_mel(highest_hz);
  for (size_t i = 0; i < corners.size(); ++i) {
    corners[i] = mel_to_hz(highest * static_cast<double>(i) / (bins + 1));
  }
  return corners;
}

constexpr float kSmallestPower = 1e-10f;
constexpr float kDynamicRange = 8.0f;  // decades of power below the largest value

}  // namespace

Result<MelExtractor> MelExtractor::create(const MelConfig& config) {
  if (config.n_fft < 4 || config.n_fft % 2 != 0 || config.n_fft > 65536) {
    return invalid_argument(
        fmt::format("n_fft is {}; allowed are even numbers from 4 to 65536", config.n_fft));
  }
  if (config.hop_length < 1 || config.num_mel_bins < 1 || config.num_mel_bins > 1024 ||
      config.sampling_rate < 1 || config.max_samples < 1) {
    return invalid_argument(fmt::format(
        "the mel settings hop_length {}, feature_size {}, sampling_rate {} and n_samples "
        "{} must be positive, and feature_size at most 1024",
        config.hop_length, config.num_mel_bins, config.sampling_rate, config.max_samples));
  }
  return MelExtractor(config);
}

MelExtractor::MelExtractor(const MelConfig& config) : config_(config), window_(config.n_fft) {
  for (int32_t i = 0; i < config_.n_fft; ++i) {
    const double phase = 2.0 * std::numbers::pi * i / config_.n_fft;
    window_[i] = static_cast<float>(0.5 - 0.5 * std::cos(phase));
  }
  const int32_t num_frequencies = config_.n_fft / 2 + 1;
  const double hz_per_bin = static_cast<double>(config_.sampling_rate) / config_.n_fft;
  const std::vector<double> corners =
      filter_corners(config_.num_mel_bins, config_.sampling_rate / 2.0);
  bands_.resize(config_.num_mel_bins);
  for (int32_t m = 0; m < config_.num_mel_bins; ++m) {
    const double low = corners[m], centre = corners[m + 1], high = corners[m + 2];
    Band& band = bands_[m];
    for (int32_t k = 0; k < num_frequencies; ++k) {
      const double hz = k * hz_per_bin;
      const double height = std::min((hz - low) / (centre - low), (high - hz) / (high - centre));
      if (height <= 0) continue;
      if (band.weights.empty()) band.first = k;
      // Slaney's normalisation: every triangle has the same area.
      band.weights.push_back(static_cast<float>(height * 2.0 / (high - low)));
    }
  }
}

Tensor MelExtractor::filters() const {
  Tensor out = Tensor::zeros(Shape{config_.n_fft / 2 + 1, config_.num_mel_bins});
  for (int32_t m = 0; m < config_.num_mel_bins; ++m) {
    const Band& band = bands_[m];
    for (size_t i = 0; i < band.weights.size(); ++i) {
      out.data<float>()[(band.first + i) * config_.num_mel_bins + m] = band.weights[i];
    }
  }
  return out;
}

MelExtractor::FrameRange MelExtractor::frames_of(int64_t offset, int64_t num_samples,
                                                 int64_t padded) const {
  const int64_t hop = config_.hop_length;
  const int64_t all = padded / hop;  // the reference drops the last of all + 1 frames
  FrameRange range = {};
  range.first_kept = std::min((offset + hop - 1) / hop, all);
  range.last_kept = std::min((offset + num_samples + hop - 1) / hop, all);
  const int64_t reach = config_.n_fft / 2 / hop + 1;
  range.first = std::max<int64_t>(range.first_kept - reach, 0);
  range.last = std::min(range.last_kept + reach, all);
  return range;
}

// Writes log10 of the mel power of frames [first, last) to out [num_mel_bins, last - first]. The
// sound lies at `offset` within `padded` samples.
void MelExtractor::log_spectrum(std::span<const float> samples, int64_t offset, int64_t padded,
                                int64_t first, int64_t last, float* out) const {
  const int32_t n = config_.n_fft;
  const int64_t num_frames = last - first;
  const auto num_samples = static_cast<int64_t>(samples.size());
  const kissfft<float> fft(n / 2, false);
  std::vector<float> frame(n);
  std::vector<std::complex<float>> spectrum(n / 2);
  std::vector<float> power(n / 2 + 1);
  for (int64_t f = first; f < last; ++f) {
    const int64_t start = f * config_.hop_length - n / 2;
    for (int32_t i = 0; i < n; ++i) {
      int64_t at = std::abs(start + i);
      if (at >= padded) at = 2 * (padded - 1) - at;
      at -= offset;
      frame[i] = at >= 0 && at < num_samples ? samples[at] * window_[i] : 0.0f;
    }
    fft.transform_real(frame.data(), spectrum.data());
    // The transform packs the two real outputs, at 0 Hz and at half the rate, into one element.
    power[0] = spectrum[0].real() * spectrum[0].real();
    power[n / 2] = spectrum[0].imag() * spectrum[0].imag();
    for (int32_t k = 1; k < n / 2; ++k) power[k] = std::norm(spectrum[k]);
    for (size_t m = 0; m < bands_.size(); ++m) {
      const Band& band = bands_[m];
      float sum = 0;
      for (size_t i = 0; i < band.weights.size(); ++i) {
        sum += band.weights[i] * power[band.first + i];
      }
      out[m * num_frames + (f - first)] = std::log10(std::max(sum, kSmallestPower));
    }
  }
}

Result<Tensor> MelExtractor::extract(std::span<const float> samples) const {
  const auto num_samples = static_cast<int64_t>(samples.size());
  const bool padding = config_.padding != MelConfig::Padding::kNone;
  const int64_t padded = padding ? config_.max_samples : num_samples;
  if (num_samples > padded) {
    return payload_too_large(
        fmt::format("the sound lasts {:.1f} s; this model takes at most {:.1f} s",
                    static_cast<double>(num_samples) / config_.sampling_rate,
                    static_cast<double>(padded) / config_.sampling_rate));
  }
  // Reflection needs more samples than it mirrors.
  const int64_t fewest =
      padding ? config_.hop_length : std::max(config_.n_fft / 2 + 1, config_.hop_length);
  if (num_samples < fewest) {
    return invalid_argument(fmt::format("the sound has {} samples at {} Hz; at least {} are needed",
                                        num_samples, config_.sampling_rate, fewest));
  }
  const int64_t offset =
      config_.padding == MelConfig::Padding::kSilenceBefore ? padded - num_samples : 0;
  const FrameRange range = frames_of(offset, num_samples, padded);
  Tensor logs = Tensor::empty(Shape{config_.num_mel_bins, range.last - range.first});
  log_spectrum(samples, offset, padded, range.first, range.last, logs.data<float>());
  const float* values = logs.data<float>();
  const float largest = *std::max_element(values, values + logs.num_elements());
  Tensor out = Tensor::empty(Shape{config_.num_mel_bins, range.last_kept - range.first_kept});
  for (int64_t m = 0; m < out.dim(0); ++m) {
    const float* from = values + m * logs.dim(1) + (range.first_kept - range.first);
    float* to = out.data<float>() + m * out.dim(1);
    for (int64_t f = 0; f < out.dim(1); ++f) {
      to[f] = (std::max(from[f], largest - kDynamicRange) + 4.0f) / 4.0f;
    }
  }
  return out;
}

}  // namespace tutti
