// WebP through libwebp; of an animation, the first frame.
#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "media/image_codecs.h"

namespace tutti {
namespace {

struct DeleteAnimation {
  void operator()(WebPAnimDecoder* decoder) const { WebPAnimDecoderDelete(decoder); }
};

Result<Tensor> decode_first_frame(const WebPData& data, int64_t width, int64_t height) {
  WebPAnimDecoderOptions options;
  WebPAnimDecoderOptionsInit(&options);
  options.color_mode = MODE_RGBA;
  const std::unique_ptr<WebPAnimDecoder, DeleteAnimation> decoder(
      WebPAnimDecoderNew(&data, &options));
  uint8_t* rgba = nullptr;
  int timestamp_ms = 0;
  if (!decoder || WebPAnimDecoderGetNext(decoder.get(), &rgba, &timestamp_ms) == 0) {
    return broken_picture("WebP", "");
  }
  Tensor out = Tensor::empty(Shape{height, width, 3}, DType::kU8);
  uint8_t* to = out.data<uint8_t>();
  for (int64_t i = 0; i < width * height; ++i) {
    for (int c = 0; c < 3; ++c) *to++ = rgba[4 * i + c];
  }
  return out;
}

}  // namespace

Result<Tensor> decode_webp(std::span<const std::byte> bytes, int64_t max_pixels) {
  const WebPData data = {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  WebPBitstreamFeatures features = {};
  if (WebPGetFeatures(data.bytes, data.size, &features) != VP8_STATUS_OK) {
    return broken_picture("WebP", "");
  }
  const int64_t width = features.width;
  const int64_t height = features.height;
  TUTTI_RETURN_IF_ERROR(check_dimensions(width, height, max_pixels));
  if (features.has_animation != 0) return decode_first_frame(data, width, height);
  Tensor out = Tensor::empty(Shape{height, width, 3}, DType::kU8);
  if (WebPDecodeRGBInto(data.bytes, data.size, out.data<uint8_t>(), out.bytes(),
                        static_cast<int>(width * 3)) == nullptr) {
    return broken_picture("WebP", "");
  }
  return out;
}

}  // namespace tutti
