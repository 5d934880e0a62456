// MediaHash: what a picture, sound or clip is known by in caches: 128 bits over its features.
//
// Thread: free functions, any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "tensor/tensor.h"

namespace tutti {

struct MediaHash {
  uint64_t high = 0;
  uint64_t low = 0;
  bool operator==(const MediaHash&) const = default;
};

// Of a contiguous tensor's bytes and of numbers that say how they are read (kind, grid). XXH3.
MediaHash hash_media(const Tensor& features, std::span<const int64_t> meaning);
// Of numbers; allocates nothing. XXH3.
MediaHash hash_numbers(std::span<const uint64_t> numbers);

}  // namespace tutti

template <>
struct std::hash<tutti::MediaHash> {
  size_t operator()(const tutti::MediaHash& hash) const noexcept { return hash.low; }
};
