// The first frame of a GIF through giflib, on a canvas of the screen's size.
#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "media/image_codecs.h"

namespace tutti {
namespace {

struct Memory {
  std::span<const std::byte> bytes;
  size_t at = 0;
};

int on_read(GifFileType* gif, GifByteType* to, int count) {
  auto* memory = static_cast<Memory*>(gif->UserData);
  const size_t got = std::min(static_cast<size_t>(count), memory->bytes.size() - memory->at);
  if (got > 0) std::memcpy(to, memory->bytes.data() + memory->at, got);
  memory->at += got;
  return static_cast<int>(got);
}

struct CloseGif {
  void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
};
using Gif = std::unique_ptr<GifFileType, CloseGif>;

// Skips an extension; of a graphics control it keeps the transparent index.
bool read_extension(GifFileType* gif, int& transparent) {
  int code = 0;
  GifByteType* block = nullptr;
  if (DGifGetExtension(gif, &code, &block) == GIF_ERROR) return false;
  while (block != nullptr) {
    GraphicsControlBlock control = {};
    if (code == GRAPHICS_EXT_FUNC_CODE &&
        DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK) {
      transparent = control.TransparentColor;
    }
    if (DGifGetExtensionNext(gif, &block) == GIF_ERROR) return false;
  }
  return true;
}

// Advances to the first frame's description.
bool find_frame(GifFileType* gif, int& transparent) {
  for (;;) {
    GifRecordType record = UNDEFINED_RECORD_TYPE;
    if (DGifGetRecordType(gif, &record) == GIF_ERROR) return false;
    if (record == IMAGE_DESC_RECORD_TYPE) return DGifGetImageDesc(gif) != GIF_ERROR;
    if (record != EXTENSION_RECORD_TYPE || !read_extension(gif, transparent)) return false;
  }
}

// Rows in the order in which they are stored.
std::vector<int> row_order(int height, bool interlaced) {
  std::vector<int> order;
  if (!interlaced) {
    for (int y = 0; y < height; ++y) order.push_back(y);
    return order;
  }
  constexpr int kFirst[] = {0, 4, 2, 1};
  constexpr int kStep[] = {8, 8, 4, 2};
  for (int pass = 0; pass < 4; ++pass) {
    for (int y = kFirst[pass]; y < height; y += kStep[pass]) order.push_back(y);
  }
  return order;
}

// Writes the colours of `indices`; an index past the palette is black.
void write_colours(std::span<const GifPixelType> indices, const ColorMapObject& map, uint8_t* to) {
  for (const GifPixelType index : indices) {
    const GifColorType colour = index < map.ColorCount ? map.Colors[index] : GifColorType{};
    *to++ = colour.Red;
    *to++ = colour.Green;
    *to++ = colour.Blue;
  }
}

}  // namespace

Result<Tensor> decode_gif(std::span<const std::byte> bytes, int64_t max_pixels) {
  Memory memory{bytes};
  int error = 0;
  const Gif gif(DGifOpen(&memory, on_read, &error));
  if (!gif) return broken_picture("GIF", "");
  TUTTI_RETURN_IF_ERROR(check_dimensions(gif->SWidth, gif->SHeight, max_pixels));
  int transparent = NO_TRANSPARENT_COLOR;
  if (!find_frame(gif.get(), transparent)) return broken_picture("GIF", "it has no whole frame");
  const GifImageDesc& frame = gif->Image;
  const ColorMapObject* map = frame.ColorMap != nullptr ? frame.ColorMap : gif->SColorMap;
  if (map == nullptr) return broken_picture("GIF", "it has no palette");
  // A frame may reach past the screen, which then grows.
  const int64_t width = std::max<int64_t>(gif->SWidth, int64_t{frame.Left} + frame.Width);
  const int64_t height = std::max<int64_t>(gif->SHeight, int64_t{frame.Top} + frame.Height);
  TUTTI_RETURN_IF_ERROR(check_dimensions(width, height, max_pixels));
  TUTTI_RETURN_IF_ERROR(check_dimensions(frame.Width, frame.Height, max_pixels));
  Tensor out = Tensor::empty(Shape{height, width, 3}, DType::kU8);
  const std::vector<GifPixelType> blank(width, static_cast<GifPixelType>(std::max(transparent, 0)));
  for (int64_t y = 0; y < height; ++y) {
    write_colours(blank, *map, out.data<uint8_t>() + y * width * 3);
  }
  std::vector<GifPixelType> line(frame.Width);
  for (const int y : row_order(frame.Height, frame.Interlace)) {
    if (DGifGetLine(gif.get(), line.data(), frame.Width) == GIF_ERROR) {
      return broken_picture("GIF", "its first frame ends too early");
    }
    write_colours(line, *map, out.data<uint8_t>() + ((frame.Top + y) * width + frame.Left) * 3);
  }
  return out;
}

}  // namespace tutti
