// Bicubic resizing of 8-bit pictures with antialiasing, in the fixed-point arithmetic of PyTorch's
// uint8 kernels (and, but for the number of bits, Pillow's), so that levels agree.
//
// Thread: free functions, any thread.
#pragma once

#include "media/image_features.h"
#include "tensor/tensor.h"

namespace tutti {

// U8 [H, W, 3] to U8 [size.height, size.width, 3]; the same tensor when the size is the same.
Tensor resize_bicubic(const Tensor& rgb, Size size);

}  // namespace tutti
