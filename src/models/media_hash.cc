#include "models/media_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"

namespace tutti {

MediaHash hash_media(const Tensor& features, std::span<const int64_t> meaning) {
  TUTTI_CHECK(features.is_contiguous(), "features are hashed as one run of bytes");
  const XXH64_hash_t seed = XXH3_64bits(meaning.data(), meaning.size_bytes());
  const XXH128_hash_t hash = XXH3_128bits_withSeed(features.raw_data(), features.bytes(), seed);
  return {hash.high64, hash.low64};
}

MediaHash hash_numbers(std::span<const uint64_t> numbers) {
  const XXH128_hash_t hash = XXH3_128bits(numbers.data(), numbers.size_bytes());
  return {hash.high64, hash.low64};
}

}  // namespace tutti
