#include "engine/ar/prefix_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace tutti::ar {

PrefixHash root_hash(uint64_t seed, uint64_t salt) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(&salt, sizeof(salt), seed);
  return {hash.high64, hash.low64};
}

PrefixHash block_hash(const PrefixHash& parent, std::span<const int32_t> ids,
                      std::span<const int32_t> more_ids, const MediaHash& media) {
  XXH3_state_t state;
  XXH3_128bits_reset_withSeed(&state, parent.low);
  XXH3_128bits_update(&state, &parent, sizeof(parent));
  XXH3_128bits_update(&state, ids.data(), ids.size_bytes());
  XXH3_128bits_update(&state, more_ids.data(), more_ids.size_bytes());
  XXH3_128bits_update(&state, &media, sizeof(media));
  const XXH128_hash_t hash = XXH3_128bits_digest(&state);
  return {hash.high64, hash.low64};
}

}  // namespace tutti::ar
