#include "media/wav_writer.h"

#include <fmt/format.h>
#include <sndfile.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace tutti {

struct WavWriter::File {
  SNDFILE* handle = nullptr;
  ~File() {
    if (handle != nullptr) sf_close(handle);
  }
};

WavWriter::WavWriter(std::string path, std::unique_ptr<File> file)
    : path_(std::move(path)), file_(std::move(file)) {}

Result<std::unique_ptr<WavWriter>> WavWriter::create(const std::string& path, int32_t sample_rate) {
  SF_INFO info = {};
  info.samplerate = sample_rate;
  info.channels = 1;
  info.format = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
  auto file = std::make_unique<File>();
  errno = 0;
  file->handle = sf_open(path.c_str(), SFM_WRITE, &info);
  if (file->handle == nullptr) {
    const std::string why = errno != 0 ? std::strerror(errno) : sf_strerror(nullptr);
    return invalid_argument(fmt::format("cannot write '{}': {}", path, why));
  }
  sf_command(file->handle, SFC_SET_CLIPPING, nullptr, SF_TRUE);
  sf_command(file->handle, SFC_SET_UPDATE_HEADER_AUTO, nullptr, SF_TRUE);
  return std::unique_ptr<WavWriter>(new WavWriter(path, std::move(file)));
}

WavWriter::~WavWriter() {
  if (!file_) return;
  file_.reset();
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

Status WavWriter::append(std::span<const float> samples) {
  const auto count = static_cast<sf_count_t>(samples.size());
  if (sf_write_float(file_->handle, samples.data(), count) != count) {
    return internal_error(
        fmt::format("cannot write to '{}': {}", path_, sf_strerror(file_->handle)));
  }
  num_samples_ += count;
  return {};
}

Status WavWriter::finish() {
  SNDFILE* handle = std::exchange(file_->handle, nullptr);
  file_.reset();
  if (sf_close(handle) != 0) {
    return internal_error(fmt::format("cannot finish '{}': the disk may be full", path_));
  }
  return {};
}

}  // namespace tutti
