// Uncompressed BMP: 1, 4, 8 (palette), 16, 24 and 32 bits, with or without channel masks, bottom-up
// or top-down. Layout: BITMAPFILEHEADER and BITMAPINFOHEADER up to version 5, or the OS/2 core
// header.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

#include "media/image_codecs.h"

namespace tutti {
namespace {

using Bytes = std::span<const std::byte>;

constexpr size_t kFileHeader = 14;
constexpr size_t kCoreHeader = 12;
constexpr size_t kInfoHeader = 40;
constexpr uint32_t kPlain = 0;
constexpr uint32_t kMasked = 3;

// Little-endian; the caller has checked that the bytes are there.
uint32_t number(Bytes bytes, size_t at, size_t width) {
  uint32_t value = 0;
  for (size_t i = 0; i < width; ++i) value |= std::to_integer<uint32_t>(bytes[at + i]) << (8 * i);
  return value;
}

struct Header {
  int64_t width = 0;
  int64_t height = 0;
  bool top_down = false;
  uint32_t bits = 0;
  uint32_t compression = kPlain;
  size_t pixels_at = 0;
  size_t palette_at = 0;
  size_t palette_entry = 4;  // bytes
  size_t palette_colours = 0;
  std::array<uint32_t, 3> masks = {};  // red, green, blue; 16 and 32 bits only
};

Result<Header> read_header(Bytes bytes) {
  if (bytes.size() < kFileHeader + kCoreHeader) return broken_picture("BMP", "its header is cut");
  const size_t header_size = number(bytes, kFileHeader, 4);
  const bool core = header_size == kCoreHeader;
  if ((!core && header_size < kInfoHeader) || header_size > bytes.size() - kFileHeader) {
    return broken_picture("BMP", fmt::format("its header has {} bytes", header_size));
  }
  Header out;
  out.pixels_at = number(bytes, 10, 4);
  out.palette_at = kFileHeader + header_size;
  if (core) {
    out.width = number(bytes, 18, 2);
    out.height = number(bytes, 20, 2);
    out.bits = number(bytes, 24, 2);
    out.palette_entry = 3;
    out.palette_colours = size_t{1} << std::min(out.bits, 8u);
    return out;
  }
  const auto height = static_cast<int64_t>(static_cast<int32_t>(number(bytes, 22, 4)));
  out.width = static_cast<int32_t>(number(bytes, 18, 4));
  out.height = std::abs(height);
  out.top_down = height < 0;
  out.bits = number(bytes, 28, 2);
  out.compression = number(bytes, 30, 4);
  const size_t used = number(bytes, 46, 4);
  const size_t all = size_t{1} << std::min(out.bits, 8u);
  out.palette_colours = used == 0 ? all : std::min(used, all);
  return out;
}

// The masks stand at the same place in the longer headers as behind the short one.
Status read_masks(Bytes bytes, Header& header) {
  if (header.bits != 16 && header.bits != 32) return {};
  if (header.compression == kPlain) {
    header.masks = header.bits == 16 ? std::array<uint32_t, 3>{0x7C00, 0x03E0, 0x001F}
                                     : std::array<uint32_t, 3>{0xFF0000, 0xFF00, 0xFF};
    return {};
  }
  const size_t at = kFileHeader + kInfoHeader;
  if (bytes.size() < at + 12) return broken_picture("BMP", "its channel masks are cut");
  for (size_t c = 0; c < 3; ++c) header.masks[c] = number(bytes, at + 4 * c, 4);
  return {};
}

Status check_header(Bytes bytes, const Header& header, int64_t max_pixels) {
  TUTTI_RETURN_IF_ERROR(check_dimensions(header.width, header.height, max_pixels));
  constexpr std::array<uint32_t, 6> kBits = {1, 4, 8, 16, 24, 32};
  const bool known_bits = std::find(kBits.begin(), kBits.end(), header.bits) != kBits.end();
  const bool masked = header.compression == kMasked && (header.bits == 16 || header.bits == 32);
  if (!known_bits || (header.compression != kPlain && !masked)) {
    return invalid_argument(fmt::format(
        "the BMP picture has {} bits per pixel and compression {}; allowed are 1, 4, 8, "
        "16, 24 and 32 bits, uncompressed",
        header.bits, header.compression));
  }
  const auto row_bytes = static_cast<uint64_t>((header.width * header.bits + 31) / 32 * 4);
  const uint64_t need = row_bytes * static_cast<uint64_t>(header.height);
  if (header.pixels_at > bytes.size() || need > bytes.size() - header.pixels_at) {
    return broken_picture("BMP", "the file ends too early");
  }
  return {};
}

// The channel's bits, spread over 0..255.
uint8_t masked_level(uint32_t pixel, uint32_t mask) {
  if (mask == 0) return 0;
  const int shift = std::countr_zero(mask);
  const uint64_t largest = mask >> shift;
  const uint64_t value = (pixel & mask) >> shift;
  return static_cast<uint8_t>((value * 255 + largest / 2) / largest);
}

void decode_palette_row(Bytes bytes, const Header& header, size_t row_at, uint8_t* to) {
  const uint32_t per_byte = 8 / header.bits;
  for (int64_t x = 0; x < header.width; ++x, to += 3) {
    const auto byte = std::to_integer<uint32_t>(bytes[row_at + x / per_byte]);
    const uint32_t shift = 8 - header.bits * (static_cast<uint32_t>(x % per_byte) + 1);
    const size_t index = (byte >> shift) & ((1u << header.bits) - 1);
    const size_t at = header.palette_at + index * header.palette_entry;
    const bool known = index < header.palette_colours && at + 3 <= bytes.size();
    for (size_t c = 0; c < 3; ++c) to[c] = known ? std::to_integer<uint8_t>(bytes[at + 2 - c]) : 0;
  }
}

void decode_direct_row(Bytes bytes, const Header& header, size_t row_at, uint8_t* to) {
  const size_t pixel_bytes = header.bits / 8;
  for (int64_t x = 0; x < header.width; ++x, to += 3) {
    const size_t at = row_at + static_cast<size_t>(x) * pixel_bytes;
    if (header.bits == 24) {
      for (size_t c = 0; c < 3; ++c) to[c] = std::to_integer<uint8_t>(bytes[at + 2 - c]);
      continue;
    }
    const uint32_t pixel = number(bytes, at, pixel_bytes);
    for (size_t c = 0; c < 3; ++c) to[c] = masked_level(pixel, header.masks[c]);
  }
}

}  // namespace

Result<Tensor> decode_bmp(std::span<const std::byte> bytes, int64_t max_pixels) {
  TUTTI_ASSIGN_OR_RETURN(Header header, read_header(bytes));
  TUTTI_RETURN_IF_ERROR(read_masks(bytes, header));
  TUTTI_RETURN_IF_ERROR(check_header(bytes, header, max_pixels));
  Tensor out = Tensor::empty(Shape{header.height, header.width, 3}, DType::kU8);
  const auto row_bytes = static_cast<size_t>((header.width * header.bits + 31) / 32 * 4);
  for (int64_t y = 0; y < header.height; ++y) {
    const int64_t stored = header.top_down ? y : header.height - 1 - y;
    const size_t row_at = header.pixels_at + static_cast<size_t>(stored) * row_bytes;
    uint8_t* to = out.data<uint8_t>() + y * header.width * 3;
    if (header.bits <= 8) {
      decode_palette_row(bytes, header, row_at, to);
    } else {
      decode_direct_row(bytes, header, row_at, to);
    }
  }
  return out;
}

}  // namespace tutti
