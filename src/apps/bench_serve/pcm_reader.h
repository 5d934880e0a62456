// PcmReader: samples out of streamed bytes that are bare 16-bit PCM or a WAV file, cut anywhere.
//
// Thread: one. Of several channels the first is taken.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tutti/status.h"

namespace tutti::bench {

class PcmReader {
 public:
  // `sample_rate`: of bytes without a header.
  explicit PcmReader(int32_t sample_rate) : sample_rate_(sample_rate) {}

  // The samples that the bytes complete, valid until the next call. Error: a WAV file of another
  // encoding than 16-bit PCM.
  Result<std::span<const float>> append(std::string_view bytes);
  int32_t sample_rate() const { return sample_rate_; }

 private:
  enum class State : uint8_t { kBegin, kHeader, kSamples };
  Status read_header();
  Status read_format(std::string_view chunk);

  State state_ = State::kBegin;
  int32_t sample_rate_;
  size_t channels_ = 1;
  std::string pending_;  // bytes that complete nothing yet
  std::vector<float> samples_;
};

}  // namespace tutti::bench
