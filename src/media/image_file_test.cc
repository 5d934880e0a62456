#include "media/image_file.h"

#include <gif_lib.h>
#include <gtest/gtest.h>
#include <png.h>
#include <webp/encode.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "media/exif.h"
#include "media/media_test_util.h"
// After <cstdio>: the library's header needs FILE and size_t.
#include <jpeglib.h>

namespace tutti {
namespace {

using media_test::Bytes;
using media_test::bytes_of;
using media_test::concat;
using media_test::little;
using media_test::prefix_of;

using Rgb = std::array<uint8_t, 3>;

// A picture whose every pixel tells where it is.
std::vector<uint8_t> gradient(int width, int height, int channels) {
  std::vector<uint8_t> out;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        out.push_back(static_cast<uint8_t>(c == 0 ? x * 7 : c == 1 ? y * 11 : c == 2 ? 90 : x + y));
      }
    }
  }
  return out;
}

Rgb pixel(const Tensor& rgb, int64_t y, int64_t x) {
  const uint8_t* at = rgb.data<uint8_t>() + (y * rgb.dim(1) + x) * 3;
  return {at[0], at[1], at[2]};
}

std::string error_of(const Bytes& bytes, const ImageLimits& limits = {}) {
  const auto got = decode_image(bytes, limits);
  return got.ok() ? "no error" : got.error().message();
}

bool mentions(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

struct PngKind {
  int bits = 8;
  int colour = PNG_COLOR_TYPE_RGB;
  int interlace = PNG_INTERLACE_NONE;
  std::vector<png_color> palette;
};

void append(png_structp png, png_bytep data, size_t count) {
  auto* out = static_cast<Bytes*>(png_get_io_ptr(png));
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  out->insert(out->end(), bytes, bytes + count);
}

// `rows` in PNG's own layout (16 bits big-endian, small depths packed), `row_bytes` each.
Bytes encode_png(int width, int height, const PngKind& kind, std::vector<uint8_t> rows,
                 size_t row_bytes) {
  Bytes out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(png, &out, append, nullptr);
  png_set_IHDR(png, info, width, height, kind.bits, kind.colour, kind.interlace,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!kind.palette.empty()) {
    png_set_PLTE(png, info, kind.palette.data(), static_cast<int>(kind.palette.size()));
    const png_byte alpha[2] = {0, 128};
    png_set_tRNS(png, info, alpha, 2, nullptr);
  }
  std::vector<png_bytep> pointers;
  for (int y = 0; y < height; ++y) pointers.push_back(rows.data() + y * row_bytes);
  png_set_rows(png, info, pointers.data());
  png_write_png(png, info, PNG_TRANSFORM_IDENTITY, nullptr);
  png_destroy_write_struct(&png, &info);
  return out;
}

Bytes rgb_png(int width, int height) {
  return encode_png(width, height, {}, gradient(width, height, 3), 3 * width);
}

struct JpegKind {
  J_COLOR_SPACE colour = JCS_RGB;
  int channels = 3;
  J_COLOR_SPACE stored = JCS_YCbCr;
  int subsampling = 1;
  bool progressive = false;
};

Bytes encode_jpeg(int width, int height, const JpegKind& kind, std::vector<uint8_t> pixels) {
  jpeg_compress_struct jpeg = {};
  jpeg_error_mgr errors = {};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &data, &size);
  jpeg.image_width = width;
  jpeg.image_height = height;
  jpeg.input_components = kind.channels;
  jpeg.in_color_space = kind.colour;
  jpeg_set_defaults(&jpeg);
  jpeg_set_colorspace(&jpeg, kind.stored);
  jpeg_set_quality(&jpeg, 95, TRUE);
  jpeg.comp_info[0].h_samp_factor = jpeg.comp_info[0].v_samp_factor = kind.subsampling;
  if (kind.progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  for (int y = 0; y < height; ++y) {
    JSAMPROW row = pixels.data() + static_cast<size_t>(y) * width * kind.channels;
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  Bytes out(size);
  std::memcpy(out.data(), data, size);
  std::free(data);
  return out;
}

const JpegKind kPlain = {};
const JpegKind kSubsampled = {.subsampling = 2};
const JpegKind kProgressive = {.progressive = true};
const JpegKind kSubsampledProgressive = {.subsampling = 2, .progressive = true};
const JpegKind kGrey = {JCS_GRAYSCALE, 1, JCS_GRAYSCALE};
const JpegKind kCmyk = {JCS_CMYK, 4, JCS_CMYK};
const JpegKind kYcck = {JCS_CMYK, 4, JCS_YCCK, 2};
const JpegKind kProgressiveCmyk = {JCS_CMYK, 4, JCS_CMYK, 1, true};

// The JPEG with an EXIF segment of one entry after its first marker.
Bytes with_orientation(const Bytes& jpeg, int orientation) {
  const std::string tiff = std::string("II*\0", 4) + little(8, 4) + little(1, 2) +
                           little(0x0112, 2) + little(3, 2) + little(1, 4) +
                           little(static_cast<uint64_t>(orientation), 4) + little(0, 4);
  const std::string payload = std::string("Exif\0\0", 6) + tiff;
  std::string segment = "\xFF\xE1";
  segment += static_cast<char>((payload.size() + 2) >> 8);
  segment += static_cast<char>((payload.size() + 2) & 0xFF);
  Bytes out = concat(prefix_of(jpeg, 2), segment + payload);
  out.insert(out.end(), jpeg.begin() + 2, jpeg.end());
  return out;
}

Bytes encode_webp(int width, int height, bool alpha) {
  uint8_t* data = nullptr;
  const std::vector<uint8_t> pixels = gradient(width, height, alpha ? 4 : 3);
  const size_t size = alpha ? WebPEncodeLosslessRGBA(pixels.data(), width, height, 4 * width, &data)
                            : WebPEncodeLosslessRGB(pixels.data(), width, height, 3 * width, &data);
  Bytes out(size);
  std::memcpy(out.data(), data, size);
  WebPFree(data);
  return out;
}

// An animation of two frames, by hand: VP8X, ANIM and two ANMF chunks around lossless pictures.
Bytes animated_webp(int width, int height) {
  const Bytes still = encode_webp(width, height, false);
  const std::string image(reinterpret_cast<const char*>(still.data()) + 12, still.size() - 12);
  const auto chunk = [](const std::string& name, const std::string& body) {
    return name + little(body.size(), 4) + body + std::string(body.size() % 2, '\0');
  };
  const std::string frame =
      chunk("ANMF", little(0, 6) + little(static_cast<uint64_t>(width) - 1, 3) +
                        little(static_cast<uint64_t>(height) - 1, 3) + little(100, 3) +
                        little(0, 1) + image);
  const std::string body =
      "WEBP" +
      chunk("VP8X", little(2, 4) + little(static_cast<uint64_t>(width) - 1, 3) +
                        little(static_cast<uint64_t>(height) - 1, 3)) +
      chunk("ANIM", little(0, 6)) + frame + frame;
  return bytes_of("RIFF" + little(body.size(), 4) + body);
}

int append_gif(GifFileType* gif, const GifByteType* data, int count) {
  auto* out = static_cast<Bytes*>(gif->UserData);
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  out->insert(out->end(), bytes, bytes + count);
  return count;
}

// Index (x + y) % 4 on a screen of 4x4 more than the frame, which lies at (2, 1).
Bytes encode_gif(int width, int height, bool interlace) {
  Bytes out;
  int error = 0;
  GifFileType* gif = EGifOpen(&out, append_gif, &error);
  const GifColorType colours[4] = {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {9, 8, 7}};
  ColorMapObject* map = GifMakeMapObject(4, colours);
  EGifSetGifVersion(gif, true);
  EGifPutScreenDesc(gif, width + 4, height + 4, 2, 0, map);
  const GraphicsControlBlock control = {0, false, 0, 3};
  GifByteType bytes[4];
  EGifGCBToExtension(&control, bytes);
  EGifPutExtension(gif, GRAPHICS_EXT_FUNC_CODE, 4, bytes);
  EGifPutImageDesc(gif, 2, 1, width, height, interlace, nullptr);
  std::vector<int> order;
  if (interlace) {
    for (const auto& [first, step] : {std::pair{0, 8}, {4, 8}, {2, 4}, {1, 2}}) {
      for (int y = first; y < height; y += step) order.push_back(y);
    }
  } else {
    for (int y = 0; y < height; ++y) order.push_back(y);
  }
  for (const int y : order) {
    std::vector<GifPixelType> line(width);
    for (int x = 0; x < width; ++x) line[x] = static_cast<GifPixelType>((x + y) % 4);
    EGifPutLine(gif, line.data(), width);
  }
  GifFreeMapObject(map);
  EGifCloseFile(gif, &error);
  return out;
}

// A BMP file with an info header of 40 bytes; `extra` are masks or the palette, `rows` the pixels.
Bytes bmp(int width, int height, int bits, int compression, const std::string& extra,
          const std::string& rows) {
  const size_t pixels_at = 14 + 40 + extra.size();
  const std::string info = little(40, 4) + little(static_cast<uint32_t>(width), 4) +
                           little(static_cast<uint32_t>(height), 4) + little(1, 2) +
                           little(static_cast<uint64_t>(bits), 2) +
                           little(static_cast<uint64_t>(compression), 4) + little(0, 20);
  return bytes_of("BM" + little(pixels_at + rows.size(), 4) + little(0, 4) + little(pixels_at, 4) +
                  info + extra + rows);
}

void expect_gradient(const Bytes& file, int width, int height, int tolerance,
                     const std::string& what) {
  const auto got = decode_image(file);
  ASSERT_TRUE(got.ok()) << what << ": " << got.error().message();
  ASSERT_EQ(got->shape(), (Shape{height, width, 3})) << what;
  const std::vector<uint8_t> want = gradient(width, height, 3);
  int worst = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    worst = std::max(worst, std::abs(got->data<uint8_t>()[i] - want[i]));
  }
  EXPECT_LE(worst, tolerance) << what;
}

TEST(ImageFile, DecodesColourPng) {
  expect_gradient(rgb_png(21, 13), 21, 13, 0, "rgb");
  PngKind kind;
  kind.interlace = PNG_INTERLACE_ADAM7;
  expect_gradient(encode_png(21, 13, kind, gradient(21, 13, 3), 63), 21, 13, 0, "interlaced");
  kind = {};
  kind.colour = PNG_COLOR_TYPE_RGB_ALPHA;  // dropped, not blended
  expect_gradient(encode_png(21, 13, kind, gradient(21, 13, 4), 84), 21, 13, 0, "rgba");
  std::vector<uint8_t> wide;
  for (const uint8_t v : gradient(21, 13, 3)) wide.insert(wide.end(), {v, 0xC3});
  kind = {};
  kind.bits = 16;
  expect_gradient(encode_png(21, 13, kind, wide, 126), 21, 13, 0, "16 bits");
}

TEST(ImageFile, DecodesGreyAndPalettePng) {
  PngKind grey;
  grey.colour = PNG_COLOR_TYPE_GRAY;
  auto got = decode_image(encode_png(3, 1, grey, {0, 100, 255}, 3));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(pixel(*got, 0, 1), (Rgb{100, 100, 100}));
  grey.bits = 2;
  got = decode_image(encode_png(4, 1, grey, {0b00011011}, 1));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(pixel(*got, 0, 1), (Rgb{85, 85, 85}));
  grey.bits = 8;
  grey.colour = PNG_COLOR_TYPE_GRAY_ALPHA;
  got = decode_image(encode_png(2, 1, grey, {10, 0, 20, 255}, 4));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(pixel(*got, 0, 0), (Rgb{10, 10, 10}));
  PngKind palette;
  palette.bits = 4;
  palette.colour = PNG_COLOR_TYPE_PALETTE;
  palette.palette = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}};
  got = decode_image(encode_png(3, 1, palette, {0x01, 0x20}, 2));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(pixel(*got, 0, 0), (Rgb{1, 2, 3}));
  EXPECT_EQ(pixel(*got, 0, 2), (Rgb{7, 8, 9}));
}

TEST(ImageFile, DecodesColourAndGreyJpeg) {
  // Smooth pictures: what is lost is small.
  const std::vector<uint8_t> smooth = gradient(16, 16, 3);
  expect_gradient(encode_jpeg(16, 16, kPlain, smooth), 16, 16, 8, "4:4:4");
  expect_gradient(encode_jpeg(16, 16, kProgressive, smooth), 16, 16, 8, "progressive");
  const auto grey = decode_image(encode_jpeg(8, 8, kGrey, std::vector<uint8_t>(64, 77)));
  ASSERT_TRUE(grey.ok()) << grey.error().message();
  EXPECT_EQ(pixel(*grey, 3, 3), (Rgb{77, 77, 77}));
}

TEST(ImageFile, DecodesCmykJpegAsAdobeWritesIt) {
  std::vector<uint8_t> ink;
  for (int i = 0; i < 64; ++i) ink.insert(ink.end(), {255, 128, 0, 200});  // 255 is no ink
  for (const JpegKind& kind : {kCmyk, kYcck}) {
    const auto got = decode_image(encode_jpeg(8, 8, kind, ink));
    ASSERT_TRUE(got.ok()) << got.error().message();
    const Rgb middle = pixel(*got, 4, 4);
    EXPECT_NEAR(middle[0], 200, 3);
    EXPECT_NEAR(middle[1], 100, 3);  // 200 * 128 / 255
    EXPECT_NEAR(middle[2], 0, 3);
  }
}

TEST(ImageFile, TurnsJpegAsExifSays) {
  // One red, one green, one blue and one white quarter, clockwise from the upper left.
  const int side = 16;
  std::vector<uint8_t> pixels;
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < 2 * side; ++x) {
      const bool right = x >= side, lower = y >= side / 2;
      const Rgb colour = !lower ? (!right ? Rgb{255, 0, 0} : Rgb{0, 255, 0})
                                : (right ? Rgb{0, 0, 255} : Rgb{255, 255, 255});
      pixels.insert(pixels.end(), colour.begin(), colour.end());
    }
  }
  const Bytes jpeg = encode_jpeg(2 * side, side, kPlain, pixels);
  // Corner colours (r, g, b, w) clockwise from the upper left after each orientation.
  const std::array<std::string, 9> want = {"",     "rgbw", "grwb", "bwrg", "wbgr",
                                           "rwbg", "wrgb", "bgrw", "gbwr"};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const auto got = decode_image(with_orientation(jpeg, orientation));
    ASSERT_TRUE(got.ok()) << got.error().message();
    const int64_t h = got->dim(0), w = got->dim(1);
    EXPECT_EQ(w > h, orientation <= 4) << orientation;
    std::string corners;
    for (const auto& [y, x] : {std::pair{1L, 1L}, {1L, w - 2}, {h - 2, w - 2}, {h - 2, 1L}}) {
      const Rgb at = pixel(*got, y, x);
      const bool r = at[0] > 128, g = at[1] > 128, b = at[2] > 128;
      corners += r && g && b ? 'w' : r ? 'r' : g ? 'g' : b ? 'b' : '?';
    }
    EXPECT_EQ(corners, want[orientation]) << orientation;
  }
  EXPECT_EQ(exif_orientation(with_orientation(jpeg, 99)), 1);
  EXPECT_EQ(exif_orientation(jpeg), 1);
}

TEST(ImageFile, DecodesWebp) {
  expect_gradient(encode_webp(17, 9, false), 17, 9, 0, "lossless");
  // Lossless with alpha keeps colours but where alpha is 0, at the first pixel.
  const auto got = decode_image(encode_webp(17, 9, true));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(pixel(*got, 8, 16), (Rgb{16 * 7, 8 * 11, 90}));
  expect_gradient(animated_webp(17, 9), 17, 9, 0, "animation");
}

TEST(ImageFile, DecodesTheFirstFrameOfAGif) {
  const Rgb colours[] = {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {9, 8, 7}};
  for (const bool interlace : {false, true}) {
    const auto got = decode_image(encode_gif(10, 13, interlace));
    ASSERT_TRUE(got.ok()) << got.error().message();
    ASSERT_EQ(got->shape(), (Shape{17, 14, 3}));
    EXPECT_EQ(pixel(*got, 0, 0), colours[3]);  // around the frame: the transparent colour
    for (int y = 0; y < 13; ++y) {
      for (int x = 0; x < 10; ++x) EXPECT_EQ(pixel(*got, y + 1, x + 2), colours[(x + y) % 4]);
    }
  }
}

TEST(ImageFile, DecodesBmp) {
  const std::string top("\x01\x02\x03\x04\x05\x06\0\0", 8);
  const std::string bottom("\x11\x12\x13\x14\x15\x16\0\0", 8);
  auto got = decode_image(bmp(2, 2, 24, 0, "", bottom + top));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(pixel(*got, 0, 1), (Rgb{6, 5, 4}));
  EXPECT_EQ(pixel(*got, 1, 0), (Rgb{0x13, 0x12, 0x11}));
  got = decode_image(bmp(2, -2, 24, 0, "", top + bottom));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(pixel(*got, 0, 1), (Rgb{6, 5, 4}));
  got = decode_image(bmp(1, 1, 32, 0, "", std::string("\x03\x02\x01\0", 4)));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(pixel(*got, 0, 0), (Rgb{1, 2, 3}));
  const std::string masks = little(0xF800, 4) + little(0x07E0, 4) + little(0x001F, 4);
  got = decode_image(bmp(1, 1, 16, 3, masks, little(0xF81F, 4)));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(pixel(*got, 0, 0), (Rgb{255, 0, 255}));
  std::string palette;
  for (int i = 0; i < 16; ++i) palette += little(static_cast<uint64_t>(i) * 0x010101, 4);
  got = decode_image(bmp(3, 1, 4, 0, palette, std::string("\x1A\xF0\0\0", 4)));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(pixel(*got, 0, 1), (Rgb{10, 10, 10}));
  EXPECT_EQ(pixel(*got, 0, 2), (Rgb{15, 15, 15}));
  EXPECT_TRUE(mentions(error_of(bmp(2, 2, 8, 1, "", "xxxx")), "compression 1"));
}

TEST(ImageFile, RefusesWhatIsNoPicture) {
  EXPECT_EQ(error_of({}), "the file is empty (0 bytes)");
  EXPECT_TRUE(mentions(error_of(bytes_of("hello")), "plain text"));
  EXPECT_TRUE(mentions(error_of(bytes_of(std::string("RIFF\0\0\0\0WAVEfmt ", 16))), "a WAV sound"));
  EXPECT_TRUE(mentions(error_of(bytes_of(std::string("II*\0", 4))), "a TIFF picture"));
  EXPECT_TRUE(mentions(error_of(bytes_of("GIF89a")), "GIF picture is truncated or corrupt"));
  EXPECT_TRUE(mentions(error_of(bytes_of("\xFF\xD8\xFF\xE0")), "JPEG picture is truncated"));
}

TEST(ImageFile, RefusesTruncatedFiles) {
  const std::vector<std::pair<std::string, Bytes>> files = {
      {"png", rgb_png(40, 40)},
      {"jpeg", encode_jpeg(40, 40, kSubsampled, gradient(40, 40, 3))},
      {"progressive", encode_jpeg(40, 40, kSubsampledProgressive, gradient(40, 40, 3))},
      {"webp", encode_webp(40, 40, false)},
      {"gif", encode_gif(40, 40, false)},
      {"bmp", bmp(40, 40, 24, 0, "", std::string(4800, 'x'))}};
  for (const auto& [name, whole] : files) {
    ASSERT_EQ(error_of(whole), "no error") << name;
    for (const double part : {0.3, 0.6, 0.9}) {
      const Bytes cut =
          prefix_of(whole, static_cast<size_t>(part * static_cast<double>(whole.size())));
      EXPECT_TRUE(mentions(error_of(cut), "truncated or corrupt")) << name << ": " << error_of(cut);
    }
  }
}

// Files of a few bytes whose headers promise 100 megapixels and more.
TEST(ImageFile, RefusesHugePicturesByTheHeader) {
  Bytes jpeg = encode_jpeg(16, 16, kPlain, gradient(16, 16, 3));
  for (size_t i = 0; i + 8 < jpeg.size(); ++i) {
    if (jpeg[i] != std::byte{0xFF} || jpeg[i + 1] != std::byte{0xC0}) continue;
    for (size_t j = 5; j < 9; ++j) jpeg[i + j] = j % 2 ? std::byte{0x27} : std::byte{0x10};
  }
  Bytes gif = encode_gif(4, 4, false);
  for (size_t i = 6; i < 10; ++i) gif[i] = std::byte{0xFF};
  const std::string webp_header = "RIFF" + little(30, 4) + "WEBPVP8X" + little(10, 4) +
                                  little(0, 4) + little(16382, 3) + little(16382, 3);
  const std::vector<std::pair<std::string, Bytes>> files = {
      {"png", encode_png(10001, 10000, {1, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE, {}},
                         std::vector<uint8_t>(1251 * size_t{10000}), 1251)},
      {"jpeg", jpeg},
      {"gif", gif},
      {"webp", bytes_of(webp_header)},
      {"bmp", bmp(100000, 100000, 24, 0, "", "")}};
  for (const auto& [name, file] : files) {
    const auto got = decode_image(file);
    ASSERT_FALSE(got.ok()) << name;
    EXPECT_EQ(got.error().code(), StatusCode::kPayloadTooLarge) << name << got.error().message();
    EXPECT_TRUE(mentions(got.error().message(), "at most 64.0 megapixels")) << name;
  }
  EXPECT_TRUE(mentions(error_of(rgb_png(40, 40), {.max_pixels = 1599}), "the picture is 40x40"));
  EXPECT_TRUE(mentions(error_of(rgb_png(40, 40), {.max_bytes = 10}), "at most 10"));
}

TEST(ImageFile, BrokenFilesNeverCrash) {
  const std::vector<Bytes> files = {
      rgb_png(20, 12),
      encode_jpeg(20, 12, kSubsampled, gradient(20, 12, 3)),
      encode_jpeg(20, 12, kProgressiveCmyk, gradient(20, 12, 4)),
      with_orientation(encode_jpeg(20, 12, kSubsampled, gradient(20, 12, 3)), 6),
      encode_webp(20, 12, true),
      animated_webp(20, 12),
      encode_gif(20, 12, true),
      bmp(20, 12, 4, 0, std::string(64, 'p'), std::string(144, 'x')),
      bmp(20, 12, 16, 3, std::string(12, '\x7E'), std::string(480, 'x'))};
  size_t refused = 0;
  for (const Bytes& whole : files) {
    media_test::for_each_broken(whole, 300, [&](const Bytes& broken) {
      const auto got = decode_image(broken, {.max_pixels = 1'000'000});
      if (!got.ok()) ++refused;
    });
  }
  EXPECT_GT(refused, 1000u);
}

}  // namespace
}  // namespace tutti
