// Any bytes as a picture: an error, or pixels within the limits that can be made into patches.
#include <cstdlib>
#include <span>

#include "media/image_features.h"
#include "media/image_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int64_t kPixels = 100'000;
  const auto got = tutti::decode_image(std::as_bytes(std::span(data, size)),
                                       {.max_bytes = 1'000'000, .max_pixels = kPixels});
  if (!got.ok()) return 0;
  if (got->rank() != 3 || got->dim(2) != 3 || got->dim(0) * got->dim(1) > kPixels) std::abort();
  unsigned sum = 0;
  for (int64_t i = 0; i < got->num_elements(); ++i) sum += got->data<uint8_t>()[i];
  // Keeps the reads: they are the test.
  asm volatile("" : : "r"(sum));
  tutti::PatchConfig config;
  config.max_pixels = 28 * 28 * 4;
  const auto patches = tutti::image_patches(*got, config);
  if (patches.ok() && patches->pixel_values.dim(0) == 0) std::abort();
  return 0;
}
