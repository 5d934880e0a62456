#include "media/audio_encoder.h"

#include <fmt/format.h>
#include <sndfile.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "media/aac_encoder.h"

namespace tutti {
namespace {

struct FormatInfo {
  AudioFormat format;
  std::string_view name;
  std::string_view content_type;
};
constexpr std::array<FormatInfo, 6> kFormats{{{AudioFormat::kWav, "wav", "audio/wav"},
                                              {AudioFormat::kPcm16, "pcm16", "audio/pcm"},
                                              {AudioFormat::kFlac, "flac", "audio/flac"},
                                              {AudioFormat::kMp3, "mp3", "audio/mpeg"},
                                              {AudioFormat::kOpus, "opus", "audio/ogg"},
                                              {AudioFormat::kAac, "aac", "audio/aac"}}};

std::vector<int16_t> quantized(std::span<const float> samples) {
  std::vector<int16_t> out(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    const float value = std::clamp(samples[i], -1.0f, 1.0f);
    out[i] = static_cast<int16_t>(std::lrintf(value * 32767.0f));
  }
  return out;
}

// Raw samples, after a WAV header whose sizes say "unknown" when it is to be a stream of wav.
class PcmEncoder final : public AudioEncoder {
 public:
  PcmEncoder(int32_t sample_rate, bool header) : sample_rate_(sample_rate), header_(header) {}

  Result<std::string> append(std::span<const float> samples) override {
    std::string out = std::exchange(header_, false) ? streamed_header() : std::string();
    return out + pcm16(samples);
  }
  Result<std::string> finish() override { return append({}); }

 private:
  std::string streamed_header() const {
    constexpr uint32_t kUnknown = 0xffffffff;
    const auto rate = static_cast<uint32_t>(sample_rate_);
    std::string out("RIFF");
    const auto u32 = [&](uint32_t v) { out.append(reinterpret_cast<const char*>(&v), 4); };
    const auto u16 = [&](uint16_t v) { out.append(reinterpret_cast<const char*>(&v), 2); };
    u32(kUnknown);
    out += "WAVEfmt ";
    u32(16);
    u16(1);  // PCM
    u16(1);  // mono
    u32(rate);
    u32(2 * rate);
    u16(2);
    u16(16);
    out += "data";
    u32(kUnknown);
    return out;
  }

  const int32_t sample_rate_;
  bool header_;
};

int sndfile_format(AudioFormat format) {
  switch (format) {
    case AudioFormat::kFlac:
      return SF_FORMAT_FLAC | SF_FORMAT_PCM_16;
    case AudioFormat::kMp3:
      return SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III;
    case AudioFormat::kOpus:
      return SF_FORMAT_OGG | SF_FORMAT_OPUS;
    default:
      return SF_FORMAT_WAV | SF_FORMAT_PCM_16;
  }
}

// libsndfile onto a string. A streamed file has given its first bytes away, so what the library
// goes back to correct there (lengths in headers) stays as it was first written.
class SndfileEncoder final : public AudioEncoder {
 public:
  explicit SndfileEncoder(bool streamed) : streamed_(streamed) {}
  ~SndfileEncoder() override {
    if (file_) sf_close(file_);
  }

  Status open(AudioFormat format, int32_t sample_rate) {
    SF_INFO info{};
    info.samplerate = sample_rate;
    info.channels = 1;
    info.format = sndfile_format(format);
    SF_VIRTUAL_IO io{&length, &seek, &read, &write, &tell};
    file_ = sf_open_virtual(&io, SFM_WRITE, &info, this);
    if (file_) return {};
    return invalid_argument(fmt::format("Sound of {} Hz cannot be written in this format: {}.",
                                        sample_rate, sf_strerror(nullptr)));
  }

  Result<std::string> append(std::span<const float> samples) override {
    const std::vector<int16_t> pcm = quantized(samples);
    const auto count = static_cast<sf_count_t>(pcm.size());
    if (sf_write_short(file_, pcm.data(), count) != count) {
      return internal_error(fmt::format("Encoding sound failed: {}.", sf_strerror(file_)));
    }
    return take();
  }
  Result<std::string> finish() override {
    const int error = sf_close(std::exchange(file_, nullptr));
    if (error != 0) {
      return internal_error(fmt::format("Encoding sound failed: {}.", sf_error_number(error)));
    }
    streamed_ = true;  // nothing will be corrected any more
    return take();
  }

 private:
  std::string take() {
    if (!streamed_) return {};
    given_ += static_cast<sf_count_t>(bytes_.size());
    return std::exchange(bytes_, {});
  }

  static SndfileEncoder& self(void* user) { return *static_cast<SndfileEncoder*>(user); }
  static sf_count_t length(void* user) {
    return self(user).given_ + static_cast<sf_count_t>(self(user).bytes_.size());
  }
  static sf_count_t tell(void* user) { return self(user).position_; }
  static sf_count_t read(void*, sf_count_t, void*) { return 0; }
  static sf_count_t seek(sf_count_t offset, int whence, void* user) {
    SndfileEncoder& s = self(user);
    const sf_count_t from = whence == SEEK_SET   ? 0
                            : whence == SEEK_CUR ? s.position_
                                                 : length(user);
    return s.position_ = from + offset;
  }
  static sf_count_t write(const void* data, sf_count_t count, void* user) {
    SndfileEncoder& s = self(user);
    const auto* bytes = static_cast<const char*>(data);
    const sf_count_t skipped = std::clamp<sf_count_t>(s.given_ - s.position_, 0, count);
    if (skipped == count) {
      s.position_ += count;
      return count;
    }
    const auto at = static_cast<size_t>(s.position_ + skipped - s.given_);
    const auto kept = static_cast<size_t>(count - skipped);
    if (s.bytes_.size() < at + kept) s.bytes_.resize(at + kept);
    std::memcpy(s.bytes_.data() + at, bytes + skipped, kept);
    s.position_ += count;
    return count;
  }

  bool streamed_;
  SNDFILE* file_ = nullptr;
  std::string bytes_;     // not given away yet
  sf_count_t given_ = 0;  // bytes that are
  sf_count_t position_ = 0;
};

}  // namespace

std::optional<AudioFormat> audio_format(std::string_view name) {
  if (name == "pcm") return AudioFormat::kPcm16;
  for (const FormatInfo& info : kFormats) {
    if (info.name == name) return info.format;
  }
  return std::nullopt;
}

std::string pcm16(std::span<const float> samples) {
  const std::vector<int16_t> values = quantized(samples);
  return {reinterpret_cast<const char*>(values.data()), 2 * values.size()};
}

std::string audio_format_names() { return "wav, pcm16, flac, mp3, opus or aac"; }

std::string_view audio_content_type(AudioFormat format) {
  for (const FormatInfo& info : kFormats) {
    if (info.format == format) return info.content_type;
  }
  return "application/octet-stream";
}

Result<std::unique_ptr<AudioEncoder>> AudioEncoder::create(AudioFormat format, int32_t sample_rate,
                                                           bool streamed) {
  if (format == AudioFormat::kPcm16 || (format == AudioFormat::kWav && streamed)) {
    return std::unique_ptr<AudioEncoder>(
        std::make_unique<PcmEncoder>(sample_rate, format == AudioFormat::kWav));
  }
  if (format == AudioFormat::kAac) return make_aac_encoder(sample_rate);
  auto encoder = std::make_unique<SndfileEncoder>(streamed);
  TUTTI_RETURN_IF_ERROR(encoder->open(format, sample_rate));
  return std::unique_ptr<AudioEncoder>(std::move(encoder));
}

Result<std::string> encode_audio(AudioFormat format, int32_t sample_rate,
                                 std::span<const float> samples) {
  TUTTI_ASSIGN_OR_RETURN(auto encoder, AudioEncoder::create(format, sample_rate, false));
  TUTTI_ASSIGN_OR_RETURN(std::string bytes, encoder->append(samples));
  TUTTI_ASSIGN_OR_RETURN(const std::string rest, encoder->finish());
  return bytes + rest;
}

}  // namespace tutti
