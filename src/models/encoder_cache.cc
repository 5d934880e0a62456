#include "models/encoder_cache.h"

#include <utility>

namespace tutti {

size_t EncodedMedia::bytes() const {
  size_t total = embeds.bytes();
  for (const Tensor& rows : deepstack) total += rows.bytes();
  return total;
}

std::shared_ptr<const EncodedMedia> EncoderCache::find(const MediaHash& hash) {
  const auto found = index_.find(hash);
  if (found == index_.end()) {
    ++misses_;
    return nullptr;
  }
  ++hits_;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->media;
}

void EncoderCache::insert(const MediaHash& hash, std::shared_ptr<const EncodedMedia> media) {
  const auto size = static_cast<int64_t>(media->bytes());
  if (size > max_bytes_ || index_.contains(hash)) return;
  while (bytes_ + size > max_bytes_) {
    bytes_ -= static_cast<int64_t>(entries_.back().media->bytes());
    index_.erase(entries_.back().hash);
    entries_.pop_back();
  }
  entries_.push_front({hash, std::move(media)});
  index_[hash] = entries_.begin();
  bytes_ += size;
}

void EncoderCache::clear() {
  index_.clear();
  entries_.clear();
  bytes_ = 0;
}

}  // namespace tutti
