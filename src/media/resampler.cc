#include "media/resampler.h"

#include <fmt/format.h>
#include <soxr.h>

#include <algorithm>
#include <cmath>

namespace tutti {
namespace {
// Float files may be scaled as integers are, but values near the end of float's range would become
// infinite in filters and spectra.
constexpr float kLargestSample = 1e9f;
constexpr int32_t kLowestRate = 1000;
constexpr int32_t kHighestRate = 768000;
// Output is taken in blocks of this many samples.
constexpr size_t kBlock = 4096;
// Edges of the transition band, in units of the lower rate's half. It lies around that frequency,
// not below it as soxr's own HQ band does: so do the windowed-sinc and polyphase resamplers that
// speech models are fed with, and the result is 2 to 5 dB closer to theirs.
constexpr double kPassbandEnd = 0.90;
constexpr double kStopbandBegin = 1.08;
}  // namespace

struct Resampler::Soxr {
  soxr_t handle = nullptr;  // none when the rates are equal
  ~Soxr() {
    if (handle != nullptr) soxr_delete(handle);
  }
};

Resampler::Resampler(std::unique_ptr<Soxr> soxr) : soxr_(std::move(soxr)) {}
Resampler::Resampler(Resampler&&) noexcept = default;
Resampler& Resampler::operator=(Resampler&&) noexcept = default;
Resampler::~Resampler() = default;

Result<Resampler> Resampler::create(int32_t from_rate, int32_t to_rate) {
  for (const int32_t rate : {from_rate, to_rate}) {
    if (rate < kLowestRate || rate > kHighestRate) {
      return invalid_argument(fmt::format("the sample rate is {} Hz; allowed are {} to {} Hz", rate,
                                          kLowestRate, kHighestRate));
    }
  }
  auto soxr = std::make_unique<Soxr>();
  if (from_rate != to_rate) {
    soxr_error_t error = nullptr;
    const soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
    soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
    quality.passband_end = kPassbandEnd;
    quality.stopband_begin = kStopbandBegin;
    const soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
    soxr->handle = soxr_create(from_rate, to_rate, 1, &error, &io, &quality, &runtime);
    if (soxr->handle == nullptr) {
      return internal_error(
          fmt::format("cannot resample from {} to {} Hz: {}", from_rate, to_rate, error));
    }
  }
  return Resampler(std::move(soxr));
}

Status Resampler::push(std::span<const float> samples, std::vector<float>& out) {
  for (const float sample : samples) {
    if (std::abs(sample) <= kLargestSample) continue;  // not so for NaN
    return invalid_argument(
        fmt::format("the sound holds the sample {:g}; allowed are -{:g} to {:g}", sample,
                    kLargestSample, kLargestSample));
  }
  if (soxr_->handle == nullptr) {
    out.insert(out.end(), samples.begin(), samples.end());
    return {};
  }
  while (!samples.empty()) {
    const size_t have = out.size();
    out.resize(have + kBlock);
    size_t used = 0;
    size_t made = 0;
    const soxr_error_t error = soxr_process(soxr_->handle, samples.data(), samples.size(), &used,
                                            out.data() + have, kBlock, &made);
    out.resize(have + made);
    if (error != nullptr) return internal_error(fmt::format("resampling failed: {}", error));
    if (used == 0 && made == 0) return internal_error("resampling makes no progress");
    samples = samples.subspan(used);
  }
  return {};
}

Status Resampler::finish(std::vector<float>& out) {
  if (soxr_->handle == nullptr) return {};
  for (;;) {
    const size_t have = out.size();
    out.resize(have + kBlock);
    size_t made = 0;
    const soxr_error_t error =
        soxr_process(soxr_->handle, nullptr, 0, nullptr, out.data() + have, kBlock, &made);
    out.resize(have + made);
    if (error != nullptr) return internal_error(fmt::format("resampling failed: {}", error));
    if (made == 0) return {};
  }
}

Result<std::vector<float>> resample(std::span<const float> samples, int32_t from_rate,
                                    int32_t to_rate) {
  TUTTI_ASSIGN_OR_RETURN(Resampler resampler, Resampler::create(from_rate, to_rate));
  std::vector<float> out;
  const double expected = static_cast<double>(samples.size()) * to_rate / from_rate;
  out.reserve(static_cast<size_t>(expected) + kBlock);
  TUTTI_RETURN_IF_ERROR(resampler.push(samples, out));
  TUTTI_RETURN_IF_ERROR(resampler.finish(out));
  return out;
}

}  // namespace tutti
