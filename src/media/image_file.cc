#include "media/image_file.h"

#include <fmt/format.h>

#include <vector>

#include "media/image_codecs.h"
#include "media/media_file.h"

namespace tutti {

Status check_dimensions(int64_t width, int64_t height, int64_t max_pixels) {
  if (width < 1 || height < 1) {
    return invalid_argument(fmt::format("the picture is {}x{}: it has no pixels", width, height));
  }
  // The product of two 32-bit sizes fits 64 bits.
  if (width > INT32_MAX || height > INT32_MAX || width * height > max_pixels) {
    return payload_too_large(fmt::format(
        "the picture is {}x{} ({:.1f} megapixels); at most {:.1f} megapixels are allowed", width,
        height, static_cast<double>(width) * static_cast<double>(height) / 1e6,
        static_cast<double>(max_pixels) / 1e6));
  }
  return {};
}

Status broken_picture(std::string_view format, std::string_view why) {
  return invalid_argument(fmt::format("the {} picture is truncated or corrupt{}{}", format,
                                      why.empty() ? "" : ": ", why));
}

Result<Tensor> decode_image(std::span<const std::byte> bytes, const ImageLimits& limits) {
  TUTTI_RETURN_IF_ERROR(check_media_bytes(bytes, limits.max_bytes));
  const Content content = content_of(bytes);
  switch (content) {
    case Content::kPng:
      return decode_png(bytes, limits.max_pixels);
    case Content::kJpeg:
      return decode_jpeg(bytes, limits.max_pixels);
    case Content::kWebp:
      return decode_webp(bytes, limits.max_pixels);
    case Content::kGif:
      return decode_gif(bytes, limits.max_pixels);
    case Content::kBmp:
      return decode_bmp(bytes, limits.max_pixels);
    default:
      return invalid_argument(
          fmt::format("the file holds {}, no picture that can be read; allowed are png, jpeg, "
                      "webp, gif and bmp",
                      content_name(content)));
  }
}

Result<Tensor> read_image(const std::string& path, const ImageLimits& limits) {
  TUTTI_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes,
                         read_media_file(path, limits.max_bytes));
  return decode_image(bytes, limits);
}

}  // namespace tutti
