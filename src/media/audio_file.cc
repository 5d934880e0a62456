#include "media/audio_file.h"

#include <fmt/format.h>
#include <sndfile.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "media/media_file.h"
#include "media/resampler.h"
#include "media/sound_container.h"

namespace tutti {
namespace {

constexpr int32_t kMostChannels = 32;
// One MP3 frame: what libsndfile holds of a block is lost when junk after the last frame ends it.
constexpr sf_count_t kBlockFrames = 1152;

// A read position over borrowed bytes, as libsndfile's virtual file.
struct Memory {
  std::span<const std::byte> bytes;
  sf_count_t at = 0;
  // Whether seeking from the end works. Told an MP3 file's size, the decoder guesses its length
  // from that of the first frames and stops there; not told, it reads to the end.
  bool end_known = true;
};

sf_count_t memory_length(void* user) {
  return static_cast<sf_count_t>(static_cast<Memory*>(user)->bytes.size());
}

sf_count_t memory_seek(sf_count_t offset, int whence, void* user) {
  auto* memory = static_cast<Memory*>(user);
  if (whence == SEEK_END && !memory->end_known) return -1;
  const sf_count_t base = whence == SEEK_SET   ? 0
                          : whence == SEEK_CUR ? memory->at
                                               : memory_length(user);
  // Clamped: a corrupt header may ask for any place, and the sum must not overflow.
  const sf_count_t length = memory_length(user);
  memory->at = std::clamp(base + std::clamp(offset, -length, length), sf_count_t{0}, length);
  return memory->at;
}

sf_count_t memory_read(void* to, sf_count_t count, void* user) {
  auto* memory = static_cast<Memory*>(user);
  const sf_count_t got = std::clamp(memory_length(user) - memory->at, sf_count_t{0}, count);
  if (got <= 0) return 0;
  std::memcpy(to, memory->bytes.data() + memory->at, static_cast<size_t>(got));
  memory->at += got;
  return got;
}

sf_count_t memory_write(const void*, sf_count_t, void*) { return 0; }

sf_count_t memory_tell(void* user) { return static_cast<Memory*>(user)->at; }

struct CloseSound {
  void operator()(SNDFILE* file) const { sf_close(file); }
};
using Sound = std::unique_ptr<SNDFILE, CloseSound>;

Status check_content(std::span<const std::byte> bytes) {
  const Content content = content_of(bytes);
  switch (content) {
    case Content::kWav:
      return check_wav_chunks(bytes);
    case Content::kOgg:
      return check_ogg_pages(bytes);
    case Content::kFlac:
    case Content::kMp3:
      return {};
    default:
      return invalid_argument(fmt::format(
          "the file holds {}, no sound that can be read; allowed are wav, mp3, flac and ogg "
          "(vorbis, opus)",
          content_name(content)));
  }
}

Status too_long(double seconds, const AudioLimits& limits) {
  return payload_too_large(fmt::format("the sound lasts {:.1f} s; at most {:.1f} s are allowed",
                                       seconds, limits.max_seconds));
}

Status check_header(const SF_INFO& info, const AudioLimits& limits) {
  if (info.channels < 1 || info.channels > kMostChannels) {
    return invalid_argument(fmt::format("the sound has {} channels; allowed are 1 to {}",
                                        info.channels, kMostChannels));
  }
  if (info.samplerate < 1) {
    return invalid_argument(fmt::format("the sample rate is {} Hz", info.samplerate));
  }
  const bool length_known = info.frames < SF_COUNT_MAX;
  const double seconds = static_cast<double>(info.frames) / info.samplerate;
  if (length_known && seconds > limits.max_seconds) return too_long(seconds, limits);
  return {};
}

// Mean over the channels of each frame.
Status mix_down(std::span<const float> interleaved, int channels, std::span<float> mono) {
  const float scale = 1.0f / static_cast<float>(channels);
  for (size_t i = 0; i < mono.size(); ++i) {
    float sum = 0;
    for (int c = 0; c < channels; ++c) sum += interleaved[i * channels + c];
    mono[i] = channels == 1 ? sum : sum * scale;
    if (!std::isfinite(mono[i])) {
      return invalid_argument("the sound holds samples that are no finite numbers");
    }
  }
  return {};
}

// Decodes all frames into `out`; returns how many there were at the file's own rate.
Result<sf_count_t> decode_frames(SNDFILE* file, const SF_INFO& info, const AudioLimits& limits,
                                 Resampler& resampler, std::vector<float>& out) {
  std::vector<float> block(static_cast<size_t>(kBlockFrames) * info.channels);
  std::vector<float> mono(kBlockFrames);
  const auto most = static_cast<sf_count_t>(limits.max_seconds * info.samplerate);
  sf_count_t total = 0;
  for (;;) {
    const sf_count_t got = sf_readf_float(file, block.data(), kBlockFrames);
    if (got <= 0) return total;
    total += got;
    if (total > most) return too_long(static_cast<double>(total) / info.samplerate, limits);
    const std::span<float> frames(mono.data(), static_cast<size_t>(got));
    TUTTI_RETURN_IF_ERROR(mix_down(block, info.channels, frames));
    TUTTI_RETURN_IF_ERROR(resampler.push(frames, out));
  }
}

}  // namespace

Result<std::vector<float>> decode_audio(std::span<const std::byte> bytes, int32_t sample_rate,
                                        const AudioLimits& limits) {
  TUTTI_RETURN_IF_ERROR(check_media_bytes(bytes, limits.max_bytes));
  TUTTI_RETURN_IF_ERROR(check_content(bytes));
  SF_VIRTUAL_IO io = {memory_length, memory_seek, memory_read, memory_write, memory_tell};
  Memory memory{bytes, 0, content_of(bytes) != Content::kMp3};
  SF_INFO info = {};
  const Sound file(sf_open_virtual(&io, SFM_READ, &info, &memory));
  if (!file) {
    return invalid_argument(
        fmt::format("the file begins as {} but cannot be decoded; it is corrupt "
                    "or truncated",
                    content_name(content_of(bytes))));
  }
  TUTTI_RETURN_IF_ERROR(check_header(info, limits));
  TUTTI_ASSIGN_OR_RETURN(Resampler resampler, Resampler::create(info.samplerate, sample_rate));
  std::vector<float> out;
  TUTTI_ASSIGN_OR_RETURN(const sf_count_t frames,
                         decode_frames(file.get(), info, limits, resampler, out));
  const bool length_known = info.frames < SF_COUNT_MAX;
  if (length_known && frames < info.frames) {
    return invalid_argument(
        fmt::format("the sound file is truncated or corrupt: its header tells of {} samples, {} "
                    "could be decoded",
                    info.frames, frames));
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
