// What a media file is, by its first bytes, and reading one into memory. File names and declared
// types are never trusted: every decoder asks content_of() first.
//
// Thread: free functions, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tutti/status.h"

namespace tutti {

enum class Content : uint8_t {
  kEmpty,
  kWav,
  kFlac,
  kOgg,
  kMp3,
  kAac,
  kMp4,
  kMatroska,
  kAvi,
  kAiff,
  kPng,
  kJpeg,
  kGif,
  kWebp,
  kBmp,
  kTiff,
  kHeif,
  kPdf,
  kArchive,
  kText,
  kUnknown,
};

Content content_of(std::span<const std::byte> bytes);
// As it stands in a sentence: "a PNG picture", "an MP4 container".
std::string content_name(Content content);

// The file's bytes. Error when it is missing, no regular file, empty, or larger than `max_bytes`;
// the size is checked before memory is taken. Where `is_allowed` is given, it is asked about the
// real path of the file that was opened, which may be another than `path` was a moment ago.
Result<std::vector<std::byte>> read_media_file(
    const std::string& path, int64_t max_bytes,
    const std::function<bool(const std::string& real_path)>& is_allowed = nullptr);
// The same limits for bytes that are in memory already.
Status check_media_bytes(std::span<const std::byte> bytes, int64_t max_bytes);

Status payload_too_large(std::string message);

}  // namespace tutti
