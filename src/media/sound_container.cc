#include "media/sound_container.h"

#include <array>
#include <cstdint>
#include <cstring>

namespace tutti {
namespace {

using Bytes = std::span<const std::byte>;

Status cut_off() { return invalid_argument("the sound file is truncated"); }

uint32_t little_u32(Bytes bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value |= std::to_integer<uint32_t>(bytes[at + i]) << (8 * i);
  return value;
}

constexpr size_t kOggHeader = 27;
constexpr size_t kOggChecksumAt = 22;
// Codec header, comments, sound: no stream that holds a sound has fewer pages.
constexpr int kFewestOggPages = 3;

// CRC-32 with polynomial 0x04c11db7, most significant bit first, starting from 0.
constexpr std::array<uint32_t, 256> kCrcTable = [] {
  std::array<uint32_t, 256> table = {};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i << 24;
    for (int bit = 0; bit < 8; ++bit) value = value << 1 ^ (value >> 31 ? 0x04c11db7u : 0u);
    table[i] = value;
  }
  return table;
}();

// Over the page with its checksum field taken as zero.
uint32_t ogg_checksum(Bytes page) {
  uint32_t crc = 0;
  for (size_t i = 0; i < page.size(); ++i) {
    const bool own = i >= kOggChecksumAt && i < kOggChecksumAt + 4;
    const uint32_t byte = own ? 0 : std::to_integer<uint32_t>(page[i]);
    crc = crc << 8 ^ kCrcTable[crc >> 24 ^ byte];
  }
  return crc;
}

// Bytes of the page at the start of `bytes`; 0 when it is cut.
size_t ogg_page_bytes(Bytes bytes) {
  if (bytes.size() < kOggHeader) return 0;
  const auto segments = std::to_integer<size_t>(bytes[26]);
  size_t size = kOggHeader + segments;
  if (bytes.size() < size) return 0;
  for (size_t i = 0; i < segments; ++i) size += std::to_integer<size_t>(bytes[kOggHeader + i]);
  return bytes.size() < size ? 0 : size;
}

}  // namespace

Status check_wav_chunks(Bytes bytes) {
  constexpr uint32_t kUnknownLength = 0x7FFFF000;
  size_t at = 12;
  while (at + 8 <= bytes.size()) {
    const uint32_t size = little_u32(bytes, at + 4);
    const size_t left = bytes.size() - at - 8;
    if (std::memcmp(bytes.data() + at, "data", 4) == 0) {
      return size < kUnknownLength && size > left ? cut_off() : Status();
    }
    if (size > left) return cut_off();
    at += 8 + size_t{size} + (size & 1);
  }
  return invalid_argument("the sound file is truncated: it has no data chunk");
}

Status check_ogg_pages(Bytes bytes) {
  int pages = 0;
  bool ended = false;
  while (!bytes.empty()) {
    if (bytes.size() < 4 || std::memcmp(bytes.data(), "OggS", 4) != 0) {
      // After the end of a stream some writers leave padding.
      if (ended) break;
      return bytes.size() < 4 ? cut_off() : invalid_argument("the sound file is corrupt");
    }
    const size_t size = ogg_page_bytes(bytes);
    if (size == 0) return cut_off();
    if (ogg_checksum(bytes.first(size)) != little_u32(bytes, kOggChecksumAt)) {
      return invalid_argument("the sound file is corrupt: a page's checksum is wrong");
    }
    ended = (std::to_integer<uint8_t>(bytes[5]) & 4) != 0;
    ++pages;
    bytes = bytes.subspan(size);
  }
  return pages < kFewestOggPages ? cut_off() : Status();
}

}  // namespace tutti
