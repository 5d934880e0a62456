#include "engine/ar/prefix_cache.h"

#include <algorithm>
#include <random>

namespace tutti::ar {

namespace {

// What beside its tokens makes a sequence's KV what it is: an adapter's matrices, by content, so
// that another one under the same name finds nothing of it. Zero: the plain model.
uint64_t salt_of(const Sequence& sequence) {
  const LoraAdapter* adapter = sequence.adapter();
  return adapter == nullptr ? 0 : adapter->content_hash;
}

uint64_t draw_seed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

}  // namespace

PrefixCache::PrefixCache(ArModel& model, BlockManager& blocks, bool enabled)
    : model_(model),
      blocks_(blocks),
      enabled_(enabled && model.info().prompt_has_token_ids),
      seed_(draw_seed()) {}

void PrefixCache::share_known(Sequence& sequence) {
  if (!enabled_) return;
  const int64_t most = (sequence.num_known() - 1) / blocks_.block_size();
  for (int64_t i = 0; i < most; ++i) {
    const auto block = blocks_.index().find(hash_of(sequence, i));
    if (!block) return;
    blocks_.share(*block);
    sequence.blocks.push_back(*block);
  }
}

void PrefixCache::begin_behind(Sequence& sequence, int64_t count) {
  if (!enabled_) return;
  const int64_t positions = count * blocks_.block_size();
  // What a preempted sequence finds again was its own.
  if (sequence.high_water == 0) {
    query_tokens_ += sequence.num_known();
    hit_tokens_ += positions;
    sequence.metrics.cached_tokens = positions;
  }
  sequence.num_remembered = count;
  sequence.num_computed = positions;
  if (count == 0) return;
  extras_.clear();
  for (int64_t i = 0; i < count; ++i) {
    extras_.push_back(blocks_.index().extra(sequence.blocks[static_cast<size_t>(i)]));
  }
  model_.skip(*sequence.model, positions, extras_);
  extras_.clear();
}

void PrefixCache::remember(Sequence& sequence) {
  if (!enabled_) return;
  const int64_t size = blocks_.block_size();
  for (int64_t& i = sequence.num_remembered; (i + 1) * size <= sequence.num_computed; ++i) {
    const PrefixHash& hash = hash_of(sequence, i);
    // Another sequence may have computed the same at the same time: one of the two is enough.
    if (blocks_.index().find(hash)) continue;
    blocks_.remember(sequence.blocks[static_cast<size_t>(i)], hash,
                     model_.take_extra(*sequence.model, i * size, (i + 1) * size));
  }
}

void PrefixCache::reset() { blocks_.forget_idle(); }

// Of a block whose tokens are known; hashed once, after those before it.
const PrefixHash& PrefixCache::hash_of(Sequence& sequence, int64_t block) const {
  const int64_t size = blocks_.block_size();
  const auto ids = model_.prompt_token_ids(*sequence.model);
  const std::span<const int32_t> generated = sequence.generated;
  const int64_t prompt = sequence.prompt_length;
  auto& hashes = sequence.block_hashes;
  for (auto i = static_cast<int64_t>(hashes.size()); i <= block; ++i) {
    const int64_t begin = i * size, end = begin + size;
    const int64_t middle = std::clamp(prompt, begin, end);
    const auto part = [](std::span<const int32_t> all, int64_t from, int64_t to) {
      return from < to ? all.subspan(static_cast<size_t>(from), static_cast<size_t>(to - from))
                       : std::span<const int32_t>{};
    };
    hashes.push_back(
        block_hash(hashes.empty() ? root_hash(seed_, salt_of(sequence)) : hashes.back(),
                   part(ids, begin, middle), part(generated, middle - prompt, end - prompt),
                   model_.content_hash(*sequence.model, begin, end)));
  }
  return hashes[static_cast<size_t>(block)];
}

}  // namespace tutti::ar
