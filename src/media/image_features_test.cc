#include "media/image_features.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "media/image_resize.h"

namespace tutti {
namespace {

Tensor picture(int64_t height, int64_t width, uint8_t (*level)(int64_t, int64_t, int64_t)) {
  Tensor out = Tensor::empty(Shape{height, width, 3}, DType::kU8);
  uint8_t* to = out.data<uint8_t>();
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < 3; ++c) *to++ = level(y, x, c);
    }
  }
  return out;
}

uint8_t place(int64_t y, int64_t x, int64_t c) { return static_cast<uint8_t>(16 * y + 2 * x + c); }

TEST(SmartResize, RefusesStripsAndKeepsThePixelLimits) {
  EXPECT_TRUE(smart_resize({200, 1}, 28, 3136, 12845056).ok());
  const auto strip = smart_resize({1, 201}, 28, 3136, 12845056);
  ASSERT_FALSE(strip.ok());
  EXPECT_EQ(strip.error().message(),
            "the picture is 201x1; one side may be at most 200 times the other");
  // Halves round to even: 42 / 28 = 1.5 -> 2, 70 / 28 = 2.5 -> 2.
  EXPECT_EQ(smart_resize({42, 70}, 28, 1, 12845056).value(), (Size{56, 56}));
  EXPECT_EQ(smart_resize({1, 1}, 28, 3136, 12845056).value(), (Size{56, 56}));
  EXPECT_FALSE(smart_resize({0, 10}, 28, 3136, 12845056).ok());
}

TEST(ResizeBicubic, KeepsConstantPicturesAndTheirSize) {
  const Tensor grey = picture(
      30, 50, [](int64_t, int64_t, int64_t c) { return static_cast<uint8_t>(40 + 100 * c); });
  for (const Size size : {Size{7, 11}, {90, 160}, {30, 20}, {1, 1}}) {
    const Tensor out = resize_bicubic(grey, size);
    ASSERT_EQ(out.shape(), (Shape{size.height, size.width, 3}));
    for (int64_t i = 0; i < out.num_elements(); ++i) {
      EXPECT_EQ(out.data<uint8_t>()[i], 40 + 100 * (i % 3));
    }
  }
  EXPECT_EQ(resize_bicubic(grey, {30, 50}).raw_data(), grey.raw_data());
}

TEST(ResizeBicubic, AveragesWhenItShrinksAndClampsOvershoot) {
  const Tensor stripes = picture(64, 64, [](int64_t, int64_t x, int64_t) {
    return static_cast<uint8_t>(x % 2 == 0 ? 0 : 200);
  });
  const Tensor small = resize_bicubic(stripes, {8, 8});
  for (int64_t x = 2; x < 6; ++x) EXPECT_NEAR(small.data<uint8_t>()[(4 * 8 + x) * 3], 100, 2);
  const Tensor edge = picture(
      4, 8, [](int64_t, int64_t x, int64_t) { return static_cast<uint8_t>(x < 4 ? 0 : 255); });
  const Tensor large = resize_bicubic(edge, {4, 64});
  const uint8_t* row = large.data<uint8_t>();
  EXPECT_EQ(row[0], 0);
  EXPECT_EQ(row[24 * 3], 0);  // would undershoot
  EXPECT_EQ(row[39 * 3], 255);
  EXPECT_EQ(row[63 * 3], 255);
}

TEST(Patches, GoThroughMergeSquares) {
  PatchConfig config;
  config.patch_size = 2;
  config.merge_size = 2;
  config.temporal_patch_size = 1;
  config.min_pixels = 1;
  config.rescale_factor = 1;
  config.mean = {0, 0, 0};
  config.std = {1, 1, 1};
  const auto got = image_patches(picture(4, 8, place), config);
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(got->grid_thw, (std::array<int64_t, 3>{1, 2, 4}));
  ASSERT_EQ(got->pixel_values.shape(), (Shape{8, 12}));
  const float* rows = got->pixel_values.data<float>();
  // Upper left corners of the patches, square by square.
  const int64_t corners[8][2] = {{0, 0}, {0, 2}, {2, 0}, {2, 2}, {0, 4}, {0, 6}, {2, 4}, {2, 6}};
  for (int64_t i = 0; i < 8; ++i) {
    const auto [y, x] = corners[i];
    const std::vector<float> want = {float(place(y, x, 0)),     float(place(y, x + 1, 0)),
                                     float(place(y + 1, x, 0)), float(place(y + 1, x + 1, 0)),
                                     float(place(y, x, 1)),     float(place(y, x + 1, 1))};
    EXPECT_EQ(std::vector<float>(rows + 12 * i, rows + 12 * i + 6), want) << i;
  }
}

TEST(Patches, RepeatTheLastFrame) {
  PatchConfig config;
  config.patch_size = 2;
  config.merge_size = 1;
  config.temporal_patch_size = 2;
  config.min_pixels = 1;
  config.rescale_factor = 1;
  config.mean = {1, 1, 1};
  config.std = {2, 2, 2};
  Tensor frames = Tensor::empty(Shape{3, 2, 2, 3}, DType::kU8);
  for (int64_t i = 0; i < 36; ++i) frames.data<uint8_t>()[i] = static_cast<uint8_t>(10 * (i / 12));
  const auto got = video_patches(frames, config);
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(got->grid_thw, (std::array<int64_t, 3>{2, 1, 1}));
  ASSERT_EQ(got->pixel_values.shape(), (Shape{2, 24}));
  const float* rows = got->pixel_values.data<float>();
  EXPECT_EQ(rows[0], -0.5f);  // first frame: (0 - 1) / 2
  EXPECT_EQ(rows[4], 4.5f);   // second
  EXPECT_EQ(rows[24], 9.5f);  // third, alone in its temporal patch
  EXPECT_EQ(rows[28], 9.5f);  // and repeated
  const Tensor none = Tensor::empty(Shape{0, 2, 2, 3}, DType::kU8);
  EXPECT_EQ(video_patches(none, config).status().message(), "the clip has no frames");
}

}  // namespace
}  // namespace tutti
