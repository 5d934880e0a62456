// Picture files to RGB: png, jpeg (EXIF orientation applied, CMYK), webp, gif (first frame), bmp.
// The format is found by content, never by name. Alpha is dropped, as the reference does; 16-bit
// channels keep their upper byte.
//
// Thread: free functions, any thread. Errors are sentences without the item's name; the caller puts
// "image 2: " before them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "tutti/status.h"

#include "tensor/tensor.h"

namespace tutti {

struct ImageLimits {
  int64_t max_bytes = 64'000'000;   // of the file
  int64_t max_pixels = 64'000'000;  // by the header, before the picture's memory is taken
};

// U8 [H, W, 3]. Errors: empty, no picture, truncated or corrupt, past a limit.
Result<Tensor> decode_image(std::span<const std::byte> bytes, const ImageLimits& limits = {});
Result<Tensor> read_image(const std::string& path, const ImageLimits& limits = {});

}  // namespace tutti
