// WavWriter: writes mono 16-bit PCM to a WAV file while it is produced.
//
// Thread: one at a time. Invariants: the file is a valid WAV after every append() that returned OK
// (the header is kept current), so that an interrupted answer can be played; without finish() the
// destructor removes the file, so that a failure leaves nothing half written.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "tutti/status.h"

namespace tutti {

class WavWriter {
 public:
  // Error when the path cannot be written. The file appears at once.
  static Result<std::unique_ptr<WavWriter>> create(const std::string& path, int32_t sample_rate);
  ~WavWriter();
  WavWriter(const WavWriter&) = delete;
  WavWriter& operator=(const WavWriter&) = delete;

  // Samples in -1..1; beyond is clipped.
  Status append(std::span<const float> samples);
  // Keeps the file.
  Status finish();
  int64_t num_samples() const { return num_samples_; }

 private:
  struct File;
  WavWriter(std::string path, std::unique_ptr<File> file);

  std::string path_;
  std::unique_ptr<File> file_;
  int64_t num_samples_ = 0;
};

}  // namespace tutti
