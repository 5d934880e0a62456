// PNG through libpng. Its errors leave by longjmp, so that the functions it may jump out of hold
// only trivial objects.
#include <png.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "media/image_codecs.h"

namespace tutti {
namespace {

// The decoder's state; lives in the caller, outside the frames that longjmp leaves.
struct Reader {
  std::span<const std::byte> bytes;
  size_t at = 0;
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::array<char, 128> error = {};

  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

void on_error(png_structp png, png_const_charp message) {
  auto* reader = static_cast<Reader*>(png_get_error_ptr(png));
  std::strncpy(reader->error.data(), message, reader->error.size() - 1);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep to, size_t count) {
  auto* reader = static_cast<Reader*>(png_get_io_ptr(png));
  if (count > reader->bytes.size() - reader->at) png_error(png, "the file ends too early");
  std::memcpy(to, reader->bytes.data() + reader->at, count);
  reader->at += count;
}

// Reads up to the pixels. False after a libpng error.
bool read_header(Reader& reader) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_set_read_fn(reader.png, &reader, on_read);
  // Text and profile chunks are never used; what is compressed in them must not be unpacked.
  png_set_keep_unknown_chunks(reader.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_read_info(reader.png, reader.info);
  return true;
}

// Asks for 8-bit RGB whatever the file holds. False after a libpng error, or when libpng would
// write rows of another size.
bool prepare(Reader& reader, size_t row_bytes) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_set_strip_16(reader.png);
  png_set_packing(reader.png);
  png_set_expand(reader.png);
  png_set_strip_alpha(reader.png);
  png_set_gray_to_rgb(reader.png);
  png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  return png_get_rowbytes(reader.png, reader.info) == row_bytes;
}

bool read_rows(Reader& reader, png_bytepp rows) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_read_image(reader.png, rows);
  png_read_end(reader.png, nullptr);  // finds a file cut after its last row
  return true;
}

}  // namespace

Result<Tensor> decode_png(std::span<const std::byte> bytes, int64_t max_pixels) {
  Reader reader{bytes};
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning);
  if (reader.png != nullptr) reader.info = png_create_info_struct(reader.png);
  if (reader.info == nullptr) return internal_error("libpng cannot be started");
  if (!read_header(reader)) return broken_picture("PNG", reader.error.data());
  const int64_t width = png_get_image_width(reader.png, reader.info);
  const int64_t height = png_get_image_height(reader.png, reader.info);
  TUTTI_RETURN_IF_ERROR(check_dimensions(width, height, max_pixels));
  if (!prepare(reader, static_cast<size_t>(width) * 3)) {
    return broken_picture("PNG", reader.error.data());
  }
  Tensor out = Tensor::empty(Shape{height, width, 3}, DType::kU8);
  std::vector<png_bytep> rows(static_cast<size_t>(height));
  for (int64_t y = 0; y < height; ++y) rows[y] = out.data<uint8_t>() + y * width * 3;
  if (!read_rows(reader, rows.data())) return broken_picture("PNG", reader.error.data());
  return out;
}

}  // namespace tutti
