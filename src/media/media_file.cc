#include "media/media_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/strings.h"

namespace tutti {
namespace {

bool has(std::string_view text, size_t at, std::string_view magic) {
  return text.size() >= at + magic.size() && text.substr(at, magic.size()) == magic;
}

// An MPEG audio frame header: 11 sync bits, then version, layer, bit rate and sample rate, none of
// which is the reserved value. Layer 0 with those sync bits is AAC in ADTS frames.
Content mpeg_frame_of(std::string_view text) {
  if (text.size() < 4) return Content::kUnknown;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  if (byte(0) != 0xFF || (byte(1) & 0xE0) != 0xE0) return Content::kUnknown;
  if ((byte(1) & 0xF6) == 0xF0) return Content::kAac;
  const bool reserved = (byte(1) & 0x18) == 0x08 || (byte(1) & 0x06) == 0 ||
                        (byte(2) & 0xF0) == 0xF0 || (byte(2) & 0x0C) == 0x0C;
  return reserved ? Content::kUnknown : Content::kMp3;
}

Content riff_of(std::string_view text) {
  if (has(text, 8, "WAVE")) return Content::kWav;
  if (has(text, 8, "WEBP")) return Content::kWebp;
  if (has(text, 8, "AVI ")) return Content::kAvi;
  return Content::kUnknown;
}

Content iso_media_of(std::string_view text) {
  for (const std::string_view brand : {"avif", "avis", "heic", "heix", "mif1", "msf1"}) {
    if (has(text, 8, brand)) return Content::kHeif;
  }
  return Content::kMp4;
}

bool looks_like_text(std::string_view text) {
  const std::string_view head = text.substr(0, 256);
  return std::all_of(head.begin(), head.end(), [](char c) {
    const auto byte = static_cast<uint8_t>(c);
    return byte >= 0x20 || c == '\n' || c == '\r' || c == '\t';
  });
}

// Closes the descriptor at the end of the scope.
struct File {
  int descriptor;
  ~File() {
    if (descriptor >= 0) close(descriptor);
  }
};

Status unreadable(const std::string& path, int error) {
  const std::string message = fmt::format("cannot read '{}': {}", path, std::strerror(error));
  return error == ENOENT ? not_found(message) : invalid_argument(message);
}

// Empty when the system does not tell.
std::string real_path_of(int descriptor) {
  std::array<char, 4096> path;
  const std::string link = fmt::format("/proc/self/fd/{}", descriptor);
  const ssize_t size = readlink(link.c_str(), path.data(), path.size());
  return std::string(path.data(), size < 0 ? 0 : static_cast<size_t>(size));
}

}  // namespace

Content content_of(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.empty()) return Content::kEmpty;
  if (has(text, 0, "\x89PNG\r\n\x1a\n")) return Content::kPng;
  if (has(text, 0, "\xFF\xD8\xFF")) return Content::kJpeg;
  if (has(text, 0, "GIF87a") || has(text, 0, "GIF89a")) return Content::kGif;
  if (has(text, 0, "RIFF") || has(text, 0, "RF64")) return riff_of(text);
  if (has(text, 0, "fLaC")) return Content::kFlac;
  if (has(text, 0, "OggS")) return Content::kOgg;
  if (has(text, 0, "ID3")) return Content::kMp3;
  if (has(text, 0, "FORM")) return Content::kAiff;
  if (has(text, 0, "\x1A\x45\xDF\xA3")) return Content::kMatroska;
  if (has(text, 4, "ftyp")) return iso_media_of(text);
  if (has(text, 0, std::string_view("II*\0", 4)) || has(text, 0, std::string_view("MM\0*", 4))) {
    return Content::kTiff;
  }
  if (has(text, 0, "%PDF")) return Content::kPdf;
  if (has(text, 0, "PK\x03\x04") || has(text, 0, "\x1F\x8B")) return Content::kArchive;
  // The weakest signatures last; bytes 6-9 of a BMP file are reserved, and zero in practice.
  if (has(text, 0, "BM") && has(text, 6, std::string_view("\0\0\0\0", 4))) return Content::kBmp;
  if (const Content mpeg = mpeg_frame_of(text); mpeg != Content::kUnknown) return mpeg;
  return looks_like_text(text) ? Content::kText : Content::kUnknown;
}

std::string content_name(Content content) {
  switch (content) {
    case Content::kEmpty:
      return "nothing";
    case Content::kWav:
      return "a WAV sound";
    case Content::kFlac:
      return "a FLAC sound";
    case Content::kOgg:
      return "an Ogg sound";
    case Content::kMp3:
      return "an MP3 sound";
    case Content::kAac:
      return "an AAC sound";
    case Content::kMp4:
      return "an MP4 container (mp4, m4a, mov)";
    case Content::kMatroska:
      return "a Matroska container (webm, mkv)";
    case Content::kAvi:
      return "an AVI container";
    case Content::kAiff:
      return "an AIFF sound";
    case Content::kPng:
      return "a PNG picture";
    case Content::kJpeg:
      return "a JPEG picture";
    case Content::kGif:
      return "a GIF picture";
    case Content::kWebp:
      return "a WebP picture";
    case Content::kBmp:
      return "a BMP picture";
    case Content::kTiff:
      return "a TIFF picture";
    case Content::kHeif:
      return "a HEIF or AVIF picture";
    case Content::kPdf:
      return "a PDF document";
    case Content::kArchive:
      return "a compressed archive";
    case Content::kText:
      return "plain text";
    case Content::kUnknown:
      break;
  }
  return "data of an unknown format";
}

Status payload_too_large(std::string message) {
  return Status(StatusCode::kPayloadTooLarge, std::move(message));
}

Status check_media_bytes(std::span<const std::byte> bytes, int64_t max_bytes) {
  if (bytes.empty()) return invalid_argument("the file is empty (0 bytes)");
  if (static_cast<int64_t>(bytes.size()) > max_bytes) {
    return payload_too_large(fmt::format("the file has {}; at most {} are allowed",
                                         human_bytes(static_cast<double>(bytes.size())),
                                         human_bytes(static_cast<double>(max_bytes))));
  }
  return {};
}

Result<std::vector<std::byte>> read_media_file(
    const std::string& path, int64_t max_bytes,
    const std::function<bool(const std::string& real_path)>& is_allowed) {
  // Without O_NONBLOCK a named pipe would wait for a writer.
  const File file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.descriptor < 0) return unreadable(path, errno);
  if (is_allowed && !is_allowed(real_path_of(file.descriptor))) {
    return invalid_argument(fmt::format("'{}' leads to a path that is not allowed", path));
  }
  struct stat info = {};
  if (fstat(file.descriptor, &info) != 0) return unreadable(path, errno);
  if (!S_ISREG(info.st_mode)) {
    return invalid_argument(fmt::format("'{}' is no regular file", path));
  }
  if (info.st_size == 0) return invalid_argument(fmt::format("'{}' is empty (0 bytes)", path));
  if (info.st_size > max_bytes) {
    return payload_too_large(fmt::format("'{}' has {}; at most {} are allowed", path,
                                         human_bytes(static_cast<double>(info.st_size)),
                                         human_bytes(static_cast<double>(max_bytes))));
  }
  std::vector<std::byte> bytes(static_cast<size_t>(info.st_size));
  size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got = read(file.descriptor, bytes.data() + have, bytes.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return unreadable(path, errno);
    if (got == 0) break;  // shortened since fstat
    have += static_cast<size_t>(got);
  }
  bytes.resize(have);
  TUTTI_RETURN_IF_ERROR(check_media_bytes(bytes, max_bytes));
  return bytes;
}

}  // namespace tutti
