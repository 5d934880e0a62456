// Samples to sound files, whole or while they are produced: wav, pcm16, flac, mp3 and opus with
// libsndfile, aac with vo-aacenc.
//
// Thread: an encoder by one at a time. Ownership: bytes are handed out by value.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tutti/status.h"

namespace tutti {

enum class AudioFormat : uint8_t { kWav, kPcm16, kFlac, kMp3, kOpus, kAac };

// "wav", "pcm16" (also "pcm"), "flac", "mp3", "opus", "aac"; none for another name.
std::optional<AudioFormat> audio_format(std::string_view name);
// "wav, pcm16, flac, mp3, opus or aac", for messages.
std::string audio_format_names();
// "audio/wav", ...
std::string_view audio_content_type(AudioFormat format);

class AudioEncoder {
 public:
  // Mono. `streamed`: bytes are taken before the end is known, so headers say that the length is
  // unknown.
  static Result<std::unique_ptr<AudioEncoder>> create(AudioFormat format, int32_t sample_rate,
                                                      bool streamed);
  virtual ~AudioEncoder() = default;
  // Samples in -1..1 (beyond is clipped); returns the bytes that are ready.
  virtual Result<std::string> append(std::span<const float> samples) = 0;
  // The rest. Once.
  virtual Result<std::string> finish() = 0;
};

// 16-bit little-endian samples; beyond -1..1 is clipped.
std::string pcm16(std::span<const float> samples);
// A whole file.
Result<std::string> encode_audio(AudioFormat format, int32_t sample_rate,
                                 std::span<const float> samples);

}  // namespace tutti
