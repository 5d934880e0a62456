// SoundDecoder: an opened sound file in memory that gives its frames block by block. One function
// per library that can open one; decode_audio() chooses.
//
// Thread: one at a time. Ownership: borrows the bytes, which must outlive it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "tutti/status.h"

namespace tutti {

// A read position over borrowed bytes, for the libraries' file callbacks.
struct MemoryFile {
  std::span<const std::byte> bytes;
  int64_t at = 0;

  int64_t size() const { return static_cast<int64_t>(bytes.size()); }
  // Up to `count` bytes; how many there were.
  int64_t read(void* to, int64_t count);
  // As lseek(), clamped to the file: a corrupt header may ask for any place.
  int64_t seek(int64_t offset, int whence);
};

struct SoundFormat {
  int32_t sample_rate = 0;  // Hz, by the header: any number
  int32_t channels = 0;
  std::optional<int64_t> num_frames;  // when the header tells it
};

class SoundDecoder {
 public:
  virtual ~SoundDecoder() = default;
  virtual const SoundFormat& format() const = 0;
  // Interleaved samples into `out`, whose size is a multiple of the channels; returns frames, 0 at
  // the end.
  virtual int64_t read(std::span<float> out) = 0;
  // Whether the end came because the rest could not be decoded.
  virtual bool failed() const = 0;
};

// wav, flac, ogg. None when the library refuses the file.
std::unique_ptr<SoundDecoder> open_with_sndfile(std::span<const std::byte> bytes);
// MP3 with libmpg123 itself: libsndfile would guess the length of files without a length header and
// stop there, and lets the library write to stderr.
std::unique_ptr<SoundDecoder> open_with_mpg123(std::span<const std::byte> bytes);

}  // namespace tutti
