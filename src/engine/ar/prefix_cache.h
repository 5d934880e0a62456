// PrefixCache: lets sequences begin behind the positions that others have computed already.
//
// A block enters once it is full and computed, of prompts and answers alike; it is found again by
// its chain of hashes. Only whole blocks are shared, so nothing is ever copied or written to. The
// last known position is always computed, because a token follows it.
// Thread: the stage's replica thread. Borrows the model and the blocks.
#pragma once

#include <vector>

#include "engine/ar/block_manager.h"
#include "engine/ar/sequence.h"
#include "models/ar_model.h"

namespace tutti::ar {

class PrefixCache {
 public:
  // enabled: false makes every call do nothing.
  PrefixCache(ArModel& model, BlockManager& blocks, bool enabled);

  bool is_enabled() const { return enabled_; }

  // Gives a sequence without blocks those of its prefix that are known. It holds them from now on,
  // but begins behind them only with begin_behind().
  void share_known(Sequence& sequence);
  // The sequence's blocks, first `count` of which are share_known()'s, are its own: it begins
  // behind those, and the model is told.
  void begin_behind(Sequence& sequence, int64_t count);
  // After a step: makes the sequence's newly filled blocks known. Allocates only for what the model
  // keeps beside blocks of media.
  void remember(Sequence& sequence);
  // Forgets what no sequence holds.
  void reset();

  int64_t query_tokens() const { return query_tokens_; }
  int64_t hit_tokens() const { return hit_tokens_; }

 private:
  const PrefixHash& hash_of(Sequence& sequence, int64_t block) const;

  ArModel& model_;
  BlockManager& blocks_;
  bool enabled_;
  uint64_t seed_;
  std::vector<Tensor> extras_;
  int64_t query_tokens_ = 0;
  int64_t hit_tokens_ = 0;
};

}  // namespace tutti::ar
