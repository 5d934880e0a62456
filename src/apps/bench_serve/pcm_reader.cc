#include "apps/bench_serve/pcm_reader.h"

#include <fmt/format.h>

namespace tutti::bench {
namespace {

constexpr std::string_view kRiff = "RIFF";
constexpr size_t kRiffHeader = 12;   // "RIFF", size, "WAVE"
constexpr size_t kChunkHeader = 8;   // name, size
constexpr size_t kFormatChunk = 16;  // the fields that every encoding has
constexpr size_t kMostHeader = 1 << 20;
constexpr uint32_t kPcm = 1;
constexpr uint32_t kExtensible = 0xFFFE;

uint32_t little_endian(std::string_view bytes, size_t at, size_t count) {
  uint32_t value = 0;
  for (size_t i = count; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

}  // namespace

Result<std::span<const float>> PcmReader::append(std::string_view bytes) {
  samples_.clear();
  pending_.append(bytes);
  if (state_ == State::kBegin) {
    const size_t count = std::min(pending_.size(), kRiff.size());
    if (pending_.substr(0, count) != kRiff.substr(0, count)) {
      state_ = State::kSamples;
    } else if (count == kRiff.size()) {
      state_ = State::kHeader;
    }
  }
  if (state_ == State::kHeader) TUTTI_RETURN_IF_ERROR(read_header());
  if (state_ != State::kSamples) return std::span<const float>();
  const size_t frame = 2 * channels_;
  size_t at = 0;
  for (; at + frame <= pending_.size(); at += frame) {
    const auto sample = static_cast<int16_t>(little_endian(pending_, at, 2));
    samples_.push_back(static_cast<float>(sample) / 32768.0f);
  }
  pending_.erase(0, at);
  return std::span<const float>(samples_);
}

// Takes the chunks before the samples off `pending_`, once they are complete.
Status PcmReader::read_header() {
  for (size_t at = kRiffHeader; at + kChunkHeader <= pending_.size();) {
    const std::string_view name = std::string_view(pending_).substr(at, 4);
    if (name == "data") {
      pending_.erase(0, at + kChunkHeader);
      state_ = State::kSamples;
      return {};
    }
    const size_t size = little_endian(pending_, at + 4, 4);
    const size_t next = at + kChunkHeader + size + size % 2;
    if (next > kMostHeader) return invalid_argument("The sound's WAV header has no end.");
    if (next > pending_.size()) return {};
    if (name == "fmt ") {
      TUTTI_RETURN_IF_ERROR(
          read_format(std::string_view(pending_).substr(at + kChunkHeader, size)));
    }
    at = next;
  }
  return {};
}

Status PcmReader::read_format(std::string_view chunk) {
  if (chunk.size() < kFormatChunk) return invalid_argument("The sound's WAV header is too short.");
  const uint32_t encoding = little_endian(chunk, 0, 2);
  const uint32_t channels = little_endian(chunk, 2, 2);
  const uint32_t rate = little_endian(chunk, 4, 4);
  const uint32_t bits = little_endian(chunk, 14, 2);
  if ((encoding != kPcm && encoding != kExtensible) || bits != 16 || channels == 0 || rate == 0) {
    return invalid_argument(
        fmt::format("The sound is a WAV file of encoding {} with {} bits, {} channels, {} Hz; only "
                    "16-bit PCM can be measured.",
                    encoding, bits, channels, rate));
  }
  channels_ = channels;
  sample_rate_ = static_cast<int32_t>(rate);
  return {};
}

}  // namespace tutti::bench
