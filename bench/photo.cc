#include "photo.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
// After <cstdio>: the library's header needs FILE and size_t.
#include <jpeglib.h>

namespace tutti {

std::vector<std::byte> photo_jpeg(int width, int height, uint32_t seed) {
  std::vector<uint8_t> row(static_cast<size_t>(width) * 3);
  jpeg_compress_struct jpeg = {};
  jpeg_error_mgr errors = {};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &data, &size);
  jpeg.image_width = width;
  jpeg.image_height = height;
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 90, TRUE);
  jpeg_start_compress(&jpeg, TRUE);
  uint32_t noise = seed;
  for (int y = 0; y < height; ++y) {
    for (size_t i = 0; i < row.size(); ++i) {
      noise = noise * 1664525u + 1013904223u;
      const double wave = std::sin(0.02 * static_cast<double>(i)) + std::cos(0.03 * y);
      row[i] = static_cast<uint8_t>(128 + 55 * wave + 12 * (noise / 4294967296.0 - 0.5));
    }
    JSAMPROW rows = row.data();
    jpeg_write_scanlines(&jpeg, &rows, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> out(bytes, bytes + size);
  std::free(data);
  return out;
}

}  // namespace tutti
