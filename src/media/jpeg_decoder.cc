// JPEG through libjpeg-turbo, with the accurate transform and smooth upsampling that Pillow uses.
// Its plain API, not TurboJPEG's, which cannot tell a tolerable warning from a fatal error that
// came after one. Errors leave by longjmp, so that the functions it may jump out of hold only
// trivial objects.
#include <csetjmp>
#include <cstdio>
#include <vector>

#include "media/exif.h"
#include "media/image_codecs.h"
// After <cstdio>: the library's header needs FILE and size_t.
#include <jerror.h>
#include <jpeglib.h>

namespace tutti {
namespace {

// Far more than encoders make; each scan of a progressive file costs a pass over the picture.
constexpr int kMostScans = 100;

// The decoder's state; lives in the caller, outside the frames that longjmp leaves.
struct Reader {
  jpeg_decompress_struct jpeg = {};
  jpeg_error_mgr errors = {};
  jpeg_progress_mgr progress = {};
  std::jmp_buf escape = {};
  bool early_end = false;
  char message[JMSG_LENGTH_MAX] = {};

  ~Reader() { jpeg_destroy_decompress(&jpeg); }
};

Reader& reader_of(j_common_ptr jpeg) { return *static_cast<Reader*>(jpeg->client_data); }

[[noreturn]] void on_error(j_common_ptr jpeg) {
  Reader& reader = reader_of(jpeg);
  jpeg->err->format_message(jpeg, reader.message);
  std::longjmp(reader.escape, 1);
}

// Warnings are tolerated, as browsers do, but for those of data that end too early.
void on_message(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  const int code = jpeg->err->msg_code;
  if (code != JWRN_JPEG_EOF && code != JWRN_HIT_MARKER) return;
  Reader& reader = reader_of(jpeg);
  jpeg->err->format_message(jpeg, reader.message);
  reader.early_end = true;
}

void on_progress(j_common_ptr jpeg) {
  Reader& reader = reader_of(jpeg);
  if (reader.jpeg.input_scan_number <= kMostScans) return;
  std::snprintf(reader.message, sizeof(reader.message), "it has more than %d scans", kMostScans);
  std::longjmp(reader.escape, 1);
}

bool read_header(Reader& reader, std::span<const std::byte> bytes) {
  reader.jpeg.err = jpeg_std_error(&reader.errors);
  reader.errors.error_exit = on_error;
  reader.errors.emit_message = on_message;
  reader.jpeg.client_data = &reader;
  if (setjmp(reader.escape) != 0) return false;
  jpeg_create_decompress(&reader.jpeg);
  reader.progress.progress_monitor = on_progress;
  reader.jpeg.progress = &reader.progress;
  jpeg_mem_src(&reader.jpeg, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&reader.jpeg, TRUE);
  return !reader.early_end;
}

bool is_cmyk(const Reader& reader) {
  return reader.jpeg.jpeg_color_space == JCS_CMYK || reader.jpeg.jpeg_color_space == JCS_YCCK;
}

// Ink to light, with Pillow's rounding. Adobe writes ink inverted, which is what every decoder
// assumes: 255 is no ink.
void cmyk_to_rgb(const uint8_t* cmyk, int64_t num_pixels, uint8_t* rgb) {
  for (int64_t i = 0; i < num_pixels; ++i, cmyk += 4) {
    const int light = cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const int product = (255 - cmyk[c]) * light + 128;
      const int ink = ((product >> 8) + product) >> 8;
      *rgb++ = static_cast<uint8_t>(light > ink ? light - ink : 0);
    }
  }
}

// Decodes all rows to `out`; `row` has room for one row of four channels.
bool read_rows(Reader& reader, uint8_t* row, uint8_t* out) {
  if (setjmp(reader.escape) != 0) return false;
  jpeg_decompress_struct& jpeg = reader.jpeg;
  const bool cmyk = is_cmyk(reader);
  jpeg.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg.dct_method = JDCT_ISLOW;
  jpeg_start_decompress(&jpeg);
  const int64_t row_bytes = int64_t{3} * jpeg.output_width;
  while (jpeg.output_scanline < jpeg.output_height) {
    uint8_t* to = out + jpeg.output_scanline * row_bytes;
    JSAMPROW target = cmyk ? row : to;
    jpeg_read_scanlines(&jpeg, &target, 1);
    if (cmyk) cmyk_to_rgb(row, jpeg.output_width, to);
  }
  jpeg_finish_decompress(&jpeg);
  return !reader.early_end;
}

}  // namespace

Result<Tensor> decode_jpeg(std::span<const std::byte> bytes, int64_t max_pixels) {
  Reader reader;
  if (!read_header(reader, bytes)) return broken_picture("JPEG", reader.message);
  const int64_t width = reader.jpeg.image_width;
  const int64_t height = reader.jpeg.image_height;
  TUTTI_RETURN_IF_ERROR(check_dimensions(width, height, max_pixels));
  Tensor out = Tensor::empty(Shape{height, width, 3}, DType::kU8);
  std::vector<uint8_t> row(static_cast<size_t>(width) * 4);
  if (!read_rows(reader, row.data(), out.data<uint8_t>())) {
    return broken_picture("JPEG", reader.message);
  }
  return orient(out, exif_orientation(bytes));
}

}  // namespace tutti
