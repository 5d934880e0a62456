// Resampler: one channel from one sample rate to another with soxr's HQ recipe (linear phase, the
// delay compensated), fed in blocks so that a long recording is never held at its own rate.
//
// Thread: one at a time. Equal rates pass samples through unchanged. All sound that comes in passes
// here, so what it makes is finite: samples that are not, or almost not, are an error.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tutti/status.h"

namespace tutti {

class Resampler {
 public:
  // Rates in Hz, 1000 to 768000.
  static Result<Resampler> create(int32_t from_rate, int32_t to_rate);
  Resampler(Resampler&&) noexcept;
  Resampler& operator=(Resampler&&) noexcept;
  ~Resampler();

  // Appends to `out` what `samples` completes. Error for a sample beyond +-1e9 or that is no
  // number.
  Status push(std::span<const float> samples, std::vector<float>& out);
  // Appends the rest; the resampler takes no more samples afterwards.
  Status finish(std::vector<float>& out);

 private:
  struct Soxr;
  explicit Resampler(std::unique_ptr<Soxr> soxr);
  std::unique_ptr<Soxr> soxr_;
};

// The whole of `samples` at once.
Result<std::vector<float>> resample(std::span<const float> samples, int32_t from_rate,
                                    int32_t to_rate);

}  // namespace tutti
