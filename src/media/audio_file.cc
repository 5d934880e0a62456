#include "media/audio_file.h"

#include <fmt/format.h>

#include "media/media_file.h"
#include "media/resampler.h"
#include "media/sound_container.h"
#include "media/sound_decoder.h"
#include "media/video_file.h"

namespace tutti {
namespace {

constexpr int32_t kMostChannels = 32;
constexpr int64_t kBlockFrames = 4096;

Status too_long(double seconds, const AudioLimits& limits) {
  return payload_too_large(fmt::format("the sound lasts {:.1f} s; at most {:.1f} s are allowed",
                                       seconds, limits.max_seconds));
}

Result<std::unique_ptr<SoundDecoder>> open_sound(std::span<const std::byte> bytes) {
  const Content content = content_of(bytes);
  std::unique_ptr<SoundDecoder> decoder;
  switch (content) {
    case Content::kWav:
      TUTTI_RETURN_IF_ERROR(check_wav_chunks(bytes));
      decoder = open_with_sndfile(bytes);
      break;
    case Content::kOgg:
      TUTTI_RETURN_IF_ERROR(check_ogg_pages(bytes));
      decoder = open_with_sndfile(bytes);
      break;
    case Content::kFlac:
      decoder = open_with_sndfile(bytes);
      break;
    case Content::kMp3:
      decoder = open_with_mpg123(bytes);
      break;
    default:
      return invalid_argument(
          fmt::format("the file holds {}, no sound that can be read; allowed are wav, mp3, flac, "
                      "ogg (vorbis, opus), m4a, aac and webm",
                      content_name(content)));
  }
  if (!decoder) {
    return invalid_argument(
        fmt::format("the file begins as {} but cannot be decoded; it is truncated or corrupt",
                    content_name(content)));
  }
  return decoder;
}

Status check_format(const SoundFormat& format, const AudioLimits& limits) {
  if (format.channels < 1 || format.channels > kMostChannels) {
    return invalid_argument(fmt::format("the sound has {} channels; allowed are 1 to {}",
                                        format.channels, kMostChannels));
  }
  if (format.sample_rate < 1) {
    return invalid_argument(fmt::format("the sample rate is {} Hz", format.sample_rate));
  }
  const double seconds = static_cast<double>(format.num_frames.value_or(0)) / format.sample_rate;
  return seconds > limits.max_seconds ? too_long(seconds, limits) : Status();
}

// Mean over the channels of each frame.
void mix_down(std::span<const float> interleaved, int channels, std::span<float> mono) {
  const float scale = 1.0f / static_cast<float>(channels);
  for (size_t i = 0; i < mono.size(); ++i) {
    float sum = 0;
    for (int c = 0; c < channels; ++c) sum += interleaved[i * channels + c];
    mono[i] = channels == 1 ? sum : sum * scale;
  }
}

// Decodes all frames into `out`; returns how many there were at the file's own rate.
Result<int64_t> decode_frames(SoundDecoder& decoder, const AudioLimits& limits,
                              Resampler& resampler, std::vector<float>& out) {
  const SoundFormat& format = decoder.format();
  std::vector<float> block(static_cast<size_t>(kBlockFrames) * format.channels);
  std::vector<float> mono(kBlockFrames);
  int64_t total = 0;
  for (;;) {
    const int64_t got = decoder.read(block);
    if (got == 0) return total;
    total += got;
    const double seconds = static_cast<double>(total) / format.sample_rate;
    if (seconds > limits.max_seconds) return too_long(seconds, limits);
    const std::span<float> frames(mono.data(), static_cast<size_t>(got));
    mix_down(block, format.channels, frames);
    TUTTI_RETURN_IF_ERROR(resampler.push(frames, out));
  }
}

}  // namespace

Result<std::vector<float>> decode_audio(std::span<const std::byte> bytes, int32_t sample_rate,
                                        const AudioLimits& limits) {
  TUTTI_RETURN_IF_ERROR(check_media_bytes(bytes, limits.max_bytes));
  if (is_container(bytes)) return decode_container_sound(bytes, sample_rate, limits);
  TUTTI_ASSIGN_OR_RETURN(const std::unique_ptr<SoundDecoder> decoder, open_sound(bytes));
  const SoundFormat& format = decoder->format();
  TUTTI_RETURN_IF_ERROR(check_format(format, limits));
  TUTTI_ASSIGN_OR_RETURN(Resampler resampler, Resampler::create(format.sample_rate, sample_rate));
  std::vector<float> out;
  TUTTI_ASSIGN_OR_RETURN(const int64_t frames, decode_frames(*decoder, limits, resampler, out));
  if (format.num_frames && frames < *format.num_frames) {
    return invalid_argument(
        fmt::format("the sound file is truncated or corrupt: its header tells of {} samples, {} "
                    "could be decoded",
                    *format.num_frames, frames));
  }
  if (decoder->failed()) {
    return invalid_argument(fmt::format("the sound file is truncated or corrupt after {:.2f} s",
                                        static_cast<double>(frames) / format.sample_rate));
  }
  TUTTI_RETURN_IF_ERROR(resampler.finish(out));
  if (out.empty()) return invalid_argument("the sound has no samples");
  return out;
}

Result<std::vector<float>> read_audio(const std::string& path, int32_t sample_rate,
                                      const AudioLimits& limits) {
  TUTTI_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes,
                         read_media_file(path, limits.max_bytes));
  return decode_audio(bytes, sample_rate, limits);
}

}  // namespace tutti
