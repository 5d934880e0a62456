#include "media/exif.h"

#include <cstring>
#include <string_view>

namespace tutti {
namespace {

using Bytes = std::span<const std::byte>;

constexpr int kUpright = 1;
constexpr uint32_t kOrientationTag = 0x0112;

// Reads past the end give 0, which no caller takes for something.
uint32_t number(Bytes bytes, size_t at, size_t width, bool little) {
  if (at > bytes.size() || bytes.size() - at < width) return 0;
  uint32_t value = 0;
  for (size_t i = 0; i < width; ++i) {
    const size_t from = little ? at + width - 1 - i : at + i;
    value = value << 8 | std::to_integer<uint32_t>(bytes[from]);
  }
  return value;
}

bool starts_with(Bytes bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

// The payload of the EXIF segment, from its TIFF header on; empty when there is none.
Bytes exif_of(Bytes jpeg) {
  constexpr std::string_view kMagic("Exif\0\0", 6);
  size_t at = 2;
  while (at + 4 <= jpeg.size() && jpeg[at] == std::byte{0xFF}) {
    const uint32_t marker = number(jpeg, at + 1, 1, false);
    if (marker == 0xFF) {  // fill byte
      ++at;
      continue;
    }
    const size_t length = number(jpeg, at + 2, 2, false);
    if (marker == 0xDA || length < 2 || length > jpeg.size() - at - 2) break;
    const Bytes payload = jpeg.subspan(at + 4, length - 2);
    if (marker == 0xE1 && starts_with(payload, kMagic)) return payload.subspan(kMagic.size());
    at += 2 + length;
  }
  return {};
}

}  // namespace

int exif_orientation(Bytes jpeg) {
  const Bytes tiff = exif_of(jpeg);
  const bool little = starts_with(tiff, "II");
  if (!little && !starts_with(tiff, "MM")) return kUpright;
  const size_t directory = number(tiff, 4, 4, little);
  const uint32_t count = number(tiff, directory, 2, little);
  for (uint32_t i = 0; i < count; ++i) {
    const size_t entry = directory + 2 + 12 * static_cast<size_t>(i);
    if (number(tiff, entry, 2, little) != kOrientationTag) continue;
    const auto value = static_cast<int>(number(tiff, entry + 8, 2, little));
    return value >= 1 && value <= 8 ? value : kUpright;
  }
  return kUpright;
}

Tensor orient(const Tensor& rgb, int orientation) {
  if (orientation == kUpright) return rgb;
  // As stored: 2 mirrored, 3 upside down, 4 both; from 5 on rows and columns are exchanged as well.
  const bool exchanged = orientation >= 5;
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const int64_t in_height = rgb.dim(0), in_width = rgb.dim(1);
  const int64_t height = exchanged ? in_width : in_height;
  const int64_t width = exchanged ? in_height : in_width;
  Tensor out = Tensor::empty(Shape{height, width, 3}, DType::kU8);
  const uint8_t* from = rgb.data<uint8_t>();
  uint8_t* to = out.data<uint8_t>();
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x, to += 3) {
      const int64_t row = exchanged ? x : y;
      const int64_t column = exchanged ? y : x;
      const int64_t source_row = from_bottom ? in_height - 1 - row : row;
      const int64_t source_column = from_right ? in_width - 1 - column : column;
      std::memcpy(to, from + (source_row * in_width + source_column) * 3, 3);
    }
  }
  return out;
}

}  // namespace tutti
