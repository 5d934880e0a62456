// The one EXIF field that changes what a picture shows: how the camera was held.
//
// Thread: free functions, any thread.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/tensor.h"

namespace tutti {

// Orientation of a JPEG file, 1 to 8 as in EXIF 2.3 (tag 0x0112 of the first directory); 1 when
// there is none or the data make no sense.
int exif_orientation(std::span<const std::byte> jpeg);

// U8 [H, W, 3] turned and mirrored so that it stands upright.
Tensor orient(const Tensor& rgb, int orientation);

}  // namespace tutti
