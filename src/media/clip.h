// Clip: a video that has been decoded: frames, and its sound where there is one.
//
// Thread: plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tensor/tensor.h"

namespace tutti {

struct Clip {
  Tensor frames;               // U8 [n, H, W, 3]
  double fps = 1.0;            // of these frames
  std::vector<float> samples;  // mono, at the model's rate; empty: no sound
  // Instead of the model's own limits for a frame.
  std::optional<int64_t> min_pixels;
  std::optional<int64_t> max_pixels;
};

}  // namespace tutti
