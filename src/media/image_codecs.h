// One decoder per picture format, behind decode_image(). Each takes the whole file, checks the
// header's dimensions against the limit before it takes memory, and gives U8 [H, W, 3].
//
// Thread: free functions, any thread. Invariant: bytes are those of content_of()'s format by their
// first bytes only; everything after is untrusted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "tutti/status.h"

#include "tensor/tensor.h"

namespace tutti {

Result<Tensor> decode_png(std::span<const std::byte> bytes, int64_t max_pixels);
Result<Tensor> decode_jpeg(std::span<const std::byte> bytes, int64_t max_pixels);
Result<Tensor> decode_webp(std::span<const std::byte> bytes, int64_t max_pixels);
Result<Tensor> decode_gif(std::span<const std::byte> bytes, int64_t max_pixels);
Result<Tensor> decode_bmp(std::span<const std::byte> bytes, int64_t max_pixels);

// Error for a picture without pixels or with too many.
Status check_dimensions(int64_t width, int64_t height, int64_t max_pixels);
// "the PNG picture is truncated or corrupt: why"; `why` may be empty.
Status broken_picture(std::string_view format, std::string_view why);

}  // namespace tutti
