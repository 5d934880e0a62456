// Pictures and clips to the flattened patches that the Qwen vision towers take, as transformers'
// Qwen2VLImageProcessor (torchvision backend) and Qwen2VLVideoProcessor make them.
//
// Thread: free functions, any thread.
#pragma once

#include <array>
#include <cstdint>

#include "tutti/status.h"

#include "tensor/tensor.h"

namespace tutti {

struct PatchConfig {
  int32_t patch_size = 14;
  int32_t merge_size = 2;           // patches merge in squares of this side
  int32_t temporal_patch_size = 2;  // frames that share a patch
  int64_t min_pixels = 3136;
  int64_t max_pixels = 12'845'056;
  double rescale_factor = 1.0 / 255.0;
  std::array<float, 3> mean = {0.5f, 0.5f, 0.5f};
  std::array<float, 3> std = {0.5f, 0.5f, 0.5f};
};

struct Size {
  int64_t height = 0;
  int64_t width = 0;
  bool operator==(const Size&) const = default;
};

// The size to resize to: multiples of `factor`, close to the aspect ratio, within the pixel limits.
// Formula: smart_resize of transformers' qwen2_vl image processor. Error when one side is more than
// 200 times the other, as there.
Result<Size> smart_resize(Size size, int64_t factor, int64_t min_pixels, int64_t max_pixels);

struct Patches {
  // F32 [grid_t * grid_h * grid_w, 3 * temporal_patch_size * patch_size^2]; rows go through the
  // merge squares, elements through channel, frame, row, column.
  Tensor pixel_values;
  std::array<int64_t, 3> grid_thw = {};
};

// From U8 [H, W, 3]; the picture is repeated to fill the temporal patch.
Result<Patches> image_patches(const Tensor& rgb, const PatchConfig& config);
// From U8 [frames, H, W, 3]; the last frame is repeated to fill the last temporal patch.
Result<Patches> video_patches(const Tensor& frames, const PatchConfig& config);

}  // namespace tutti
