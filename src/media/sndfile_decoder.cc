// Sound files through libsndfile, from memory.
#include <sndfile.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "media/sound_decoder.h"

namespace tutti {

int64_t MemoryFile::read(void* to, int64_t count) {
  const int64_t got = std::clamp<int64_t>(size() - at, 0, std::max<int64_t>(count, 0));
  if (got == 0) return 0;
  std::memcpy(to, bytes.data() + at, static_cast<size_t>(got));
  at += got;
  return got;
}

int64_t MemoryFile::seek(int64_t offset, int whence) {
  const int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? at : size();
  // The inner clamp keeps the sum from overflowing.
  at = std::clamp<int64_t>(base + std::clamp<int64_t>(offset, -size(), size()), 0, size());
  return at;
}

namespace {

MemoryFile& file_of(void* user) { return *static_cast<MemoryFile*>(user); }

SF_VIRTUAL_IO callbacks() {
  return {.get_filelen = [](void* user) -> sf_count_t { return file_of(user).size(); },
          .seek = [](sf_count_t offset, int whence, void* user) -> sf_count_t {
            return file_of(user).seek(offset, whence);
          },
          .read = [](void* to, sf_count_t count, void* user) -> sf_count_t {
            return file_of(user).read(to, count);
          },
          .write = [](const void*, sf_count_t, void*) -> sf_count_t { return 0; },
          .tell = [](void* user) -> sf_count_t { return file_of(user).at; }};
}

class SndfileDecoder : public SoundDecoder {
 public:
  explicit SndfileDecoder(std::span<const std::byte> bytes) : memory_{bytes} {
    SF_VIRTUAL_IO io = callbacks();
    SF_INFO info = {};
    file_ = sf_open_virtual(&io, SFM_READ, &info, &memory_);
    format_.sample_rate = info.samplerate;
    format_.channels = info.channels;
    if (info.frames >= 0 && info.frames < SF_COUNT_MAX) format_.num_frames = info.frames;
  }
  ~SndfileDecoder() override {
    if (file_ != nullptr) sf_close(file_);
  }
  SndfileDecoder(const SndfileDecoder&) = delete;
  SndfileDecoder& operator=(const SndfileDecoder&) = delete;

  bool is_open() const { return file_ != nullptr; }
  const SoundFormat& format() const override { return format_; }
  int64_t read(std::span<float> out) override {
    const auto frames = static_cast<sf_count_t>(out.size()) / format_.channels;
    return std::max<sf_count_t>(sf_readf_float(file_, out.data(), frames), 0);
  }
  bool failed() const override { return sf_error(file_) != SF_ERR_NO_ERROR; }

 private:
  MemoryFile memory_;
  SNDFILE* file_ = nullptr;
  SoundFormat format_;
};

}  // namespace

std::unique_ptr<SoundDecoder> open_with_sndfile(std::span<const std::byte> bytes) {
  auto decoder = std::make_unique<SndfileDecoder>(bytes);
  if (!decoder->is_open()) return nullptr;
  return decoder;
}

}  // namespace tutti
