// EncoderCache: what encoders made of pictures, sounds and clips, by content, least recently used
// out first; so that a second question about the same picture pays no encoder.
//
// Thread: one at a time (the stage's replica thread). Ownership: shared with the sequences that use
// an entry; evicting one does not take it from them. Invariant: entries hold at most max_bytes.
#pragma once

#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "models/media_hash.h"

namespace tutti {

// Immutable once made.
struct EncodedMedia {
  Tensor embeds;                  // [rows, hidden_size] F32, in place of the placeholders
  std::vector<Tensor> deepstack;  // the same shape; added behind the first layers

  size_t bytes() const;
};

class EncoderCache {
 public:
  explicit EncoderCache(int64_t max_bytes) : max_bytes_(max_bytes) {}

  // Null when absent. What is found becomes the most recently used.
  std::shared_ptr<const EncodedMedia> find(const MediaHash& hash);
  // Does nothing for an entry that is there, or larger than the whole cache.
  void insert(const MediaHash& hash, std::shared_ptr<const EncodedMedia> media);
  void clear();

  int64_t bytes() const { return bytes_; }
  int64_t hits() const { return hits_; }
  int64_t misses() const { return misses_; }

 private:
  struct Entry {
    MediaHash hash;
    std::shared_ptr<const EncodedMedia> media;
  };
  int64_t max_bytes_;
  int64_t bytes_ = 0;
  int64_t hits_ = 0;
  int64_t misses_ = 0;
  std::list<Entry> entries_;  // the most recently used first
  std::unordered_map<MediaHash, std::list<Entry>::iterator> index_;
};

}  // namespace tutti
