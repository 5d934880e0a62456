#include "media/image_features.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "media/image_resize.h"

namespace tutti {
namespace {

constexpr double kMostAspect = 200.0;

// Python's round(): halves go to the even neighbour, the default rounding of nearbyint().
int64_t round_half_even(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

// What turns a level into a feature: one table per channel, as the reference's arithmetic in float
// (mean and deviation in levels) gives it.
using LevelTable = std::array<std::array<float, 256>, 3>;

LevelTable level_table(const PatchConfig& config) {
  LevelTable table;
  const auto levels = static_cast<float>(1.0 / config.rescale_factor);
  for (size_t c = 0; c < 3; ++c) {
    const float mean = config.mean[c] * levels;
    const float std = config.std[c] * levels;
    for (size_t v = 0; v < 256; ++v) table[c][v] = (static_cast<float>(v) - mean) / std;
  }
  return table;
}

// One patch: its channels and rows from each frame of the temporal patch.
void write_patch(std::span<const uint8_t* const> frames, int64_t width, int64_t top, int64_t left,
                 int64_t patch, const LevelTable& table, float* out) {
  const int64_t area = patch * patch;
  for (size_t c = 0; c < 3; ++c) {
    for (size_t f = 0; f < frames.size(); ++f) {
      if (f > 0 && frames[f] == frames[f - 1]) {  // a still picture fills its temporal patch
        std::copy_n(out - area, area, out);
        out += area;
        continue;
      }
      for (int64_t y = top; y < top + patch; ++y) {
        const uint8_t* row = frames[f] + (y * width + left) * 3 + static_cast<int64_t>(c);
        for (int64_t x = 0; x < patch; ++x) *out++ = table[c][row[3 * x]];
      }
    }
  }
}

// All patches of one temporal patch, merge square by merge square.
void write_patches(std::span<const uint8_t* const> frames, Size size, const PatchConfig& config,
                   const LevelTable& table, float* out) {
  const int64_t patch = config.patch_size;
  const int64_t square = patch * config.merge_size;
  const int64_t row_elements = 3 * static_cast<int64_t>(frames.size()) * patch * patch;
  for (int64_t top = 0; top < size.height; top += square) {
    for (int64_t left = 0; left < size.width; left += square) {
      for (int64_t y = top; y < top + square; y += patch) {
        for (int64_t x = left; x < left + square; x += patch) {
          write_patch(frames, size.width, y, x, patch, table, out);
          out += row_elements;
        }
      }
    }
  }
}

// Resizes the frames; `frames` holds at least one, all of the same size.
Result<Patches> patches_of(std::span<const Tensor> frames, const PatchConfig& config) {
  const int64_t factor = static_cast<int64_t>(config.patch_size) * config.merge_size;
  TUTTI_ASSIGN_OR_RETURN(const Size size, smart_resize({frames[0].dim(0), frames[0].dim(1)}, factor,
                                                       config.min_pixels, config.max_pixels));
  std::vector<Tensor> resized;
  for (const Tensor& frame : frames) resized.push_back(resize_bicubic(frame, size));
  const int64_t temporal = config.temporal_patch_size;
  const auto num_frames = static_cast<int64_t>(frames.size());
  Patches out;
  out.grid_thw = {(num_frames + temporal - 1) / temporal, size.height / config.patch_size,
                  size.width / config.patch_size};
  const int64_t rows_each = out.grid_thw[1] * out.grid_thw[2];
  const int64_t elements = 3 * temporal * config.patch_size * config.patch_size;
  out.pixel_values = Tensor::empty(Shape{out.grid_thw[0] * rows_each, elements});
  const LevelTable table = level_table(config);
  std::vector<const uint8_t*> together(temporal);
  for (int64_t t = 0; t < out.grid_thw[0]; ++t) {
    for (int64_t i = 0; i < temporal; ++i) {
      together[i] = resized[std::min(t * temporal + i, num_frames - 1)].data<uint8_t>();
    }
    write_patches(together, size, config, table,
                  out.pixel_values.data<float>() + t * rows_each * elements);
  }
  return out;
}

}  // namespace

Result<Size> smart_resize(Size size, int64_t factor, int64_t min_pixels, int64_t max_pixels) {
  if (size.height < 1 || size.width < 1) return invalid_argument("the picture has no pixels");
  const auto height = static_cast<double>(size.height);
  const auto width = static_cast<double>(size.width);
  if (std::max(height, width) / std::min(height, width) > kMostAspect) {
    return invalid_argument(
        fmt::format("the picture is {}x{}; one side may be at most {:.0f} times the other",
                    size.width, size.height, kMostAspect));
  }
  const auto f = static_cast<double>(factor);
  Size out = {round_half_even(height / f) * factor, round_half_even(width / f) * factor};
  if (out.height * out.width > max_pixels) {
    const double beta = std::sqrt(height * width / static_cast<double>(max_pixels));
    out.height = std::max(factor, static_cast<int64_t>(std::floor(height / beta / f)) * factor);
    out.width = std::max(factor, static_cast<int64_t>(std::floor(width / beta / f)) * factor);
  } else if (out.height * out.width < min_pixels) {
    const double beta = std::sqrt(static_cast<double>(min_pixels) / (height * width));
    out.height = static_cast<int64_t>(std::ceil(height * beta / f)) * factor;
    out.width = static_cast<int64_t>(std::ceil(width * beta / f)) * factor;
  }
  return out;
}

Result<Patches> image_patches(const Tensor& rgb, const PatchConfig& config) {
  TUTTI_CHECK(rgb.rank() == 3 && rgb.dim(2) == 3 && rgb.dtype() == DType::kU8,
              "a picture is U8 [H, W, 3]");
  return patches_of(std::span(&rgb, 1), config);
}

Result<Patches> video_patches(const Tensor& frames, const PatchConfig& config) {
  TUTTI_CHECK(frames.rank() == 4 && frames.dim(3) == 3 && frames.dtype() == DType::kU8,
              "a clip is U8 [frames, H, W, 3]");
  if (frames.dim(0) == 0) return invalid_argument("the clip has no frames");
  std::vector<Tensor> each;
  for (int64_t i = 0; i < frames.dim(0); ++i) each.push_back(frames.select(i));
  return patches_of(each, config);
}

}  // namespace tutti
