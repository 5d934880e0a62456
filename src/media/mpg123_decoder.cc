// MP3 through libmpg123, from memory.
#include <mpg123.h>

#include <cstdio>

#include "media/sound_decoder.h"

namespace tutti {
namespace {

class Mpg123Decoder : public SoundDecoder {
 public:
  explicit Mpg123Decoder(std::span<const std::byte> bytes) : memory_{bytes} {
    // Does nothing since 1.27, but older headers ask for it; once for all threads.
    static const int initialised = mpg123_init();
    if (initialised != MPG123_OK) return;
    handle_ = mpg123_new(nullptr, nullptr);
    open_ = handle_ != nullptr && configure() && open();
  }
  ~Mpg123Decoder() override {
    if (handle_ != nullptr) mpg123_delete(handle_);
  }
  Mpg123Decoder(const Mpg123Decoder&) = delete;
  Mpg123Decoder& operator=(const Mpg123Decoder&) = delete;

  bool is_open() const { return open_; }
  const SoundFormat& format() const override { return format_; }
  int64_t read(std::span<float> out) override {
    if (result_ != MPG123_OK) return 0;
    size_t bytes = 0;
    result_ = mpg123_read(handle_, out.data(), out.size_bytes(), &bytes);
    return static_cast<int64_t>(bytes / sizeof(float)) / format_.channels;
  }
  // Another sample rate or channel count from here on is a failure too.
  bool failed() const override { return result_ != MPG123_OK && result_ != MPG123_DONE; }

 private:
  bool configure() {
    mpg123_param(handle_, MPG123_ADD_FLAGS, MPG123_QUIET, 0);
    // Pictures, lyrics and tags between and after frames are skipped whatever their length.
    mpg123_param(handle_, MPG123_RESYNC_LIMIT, -1, 0);
    if (mpg123_format_none(handle_) != MPG123_OK) return false;
    const long* rates = nullptr;
    size_t num_rates = 0;
    mpg123_rates(&rates, &num_rates);
    for (size_t i = 0; i < num_rates; ++i) {
      mpg123_format(handle_, rates[i], MPG123_MONO | MPG123_STEREO, MPG123_ENC_FLOAT_32);
    }
    return mpg123_replace_reader_handle(
               handle_,
               [](void* user, void* to, size_t count) -> ssize_t {
                 return static_cast<MemoryFile*>(user)->read(to, static_cast<int64_t>(count));
               },
               [](void* user, off_t offset, int whence) -> off_t {
                 // With an end, the library would guess the length from the first frames.
                 if (whence == SEEK_END) return -1;
                 return static_cast<MemoryFile*>(user)->seek(offset, whence);
               },
               nullptr) == MPG123_OK;
  }

  bool open() {
    if (mpg123_open_handle(handle_, &memory_) != MPG123_OK) return false;
    long rate = 0;
    int channels = 0, encoding = 0;
    if (mpg123_getformat(handle_, &rate, &channels, &encoding) != MPG123_OK) return false;
    format_.sample_rate = static_cast<int32_t>(rate);
    format_.channels = channels;
    if (const off_t frames = mpg123_length(handle_); frames >= 0) format_.num_frames = frames;
    return encoding == MPG123_ENC_FLOAT_32 && channels > 0;
  }

  MemoryFile memory_;
  mpg123_handle* handle_ = nullptr;
  SoundFormat format_;
  bool open_ = false;
  int result_ = MPG123_OK;
};

}  // namespace

std::unique_ptr<SoundDecoder> open_with_mpg123(std::span<const std::byte> bytes) {
  auto decoder = std::make_unique<Mpg123Decoder>(bytes);
  if (!decoder->is_open()) return nullptr;
  return decoder;
}

}  // namespace tutti
