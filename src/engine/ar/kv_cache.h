// KvCache: the memory of the paged KV cache, allocated once for all layers of a stage.
//
// Thread: the stage's replica thread. Pages of the host are touched, and so become resident, only
// as blocks are used.
#pragma once

#include <span>
#include <vector>

#include "engine/stage_engine.h"
#include "models/ar_model.h"

namespace tutti::ar {

// Bytes of one block over all layers, keys and values.
int64_t kv_bytes_per_block(const ArModelInfo& info, int32_t block_size);
// As many blocks as kv_cache_bytes pays for (at least one), and no more than max_num_seqs sequences
// of max_model_len positions can use.
int64_t kv_num_blocks(const ArModelInfo& info, const StageEngineOptions& options,
                      int64_t max_model_len);

class KvCache {
 public:
  KvCache(const ArModelInfo& info, int64_t num_blocks, int32_t block_size);
  std::span<const KvLayer> layers() const { return layers_; }
  // Gives the memory back, and takes new memory; what it held is lost.
  void release() { layers_.clear(); }
  void allocate();

 private:
  Shape shape_;
  DType dtype_;
  int64_t num_layers_;
  std::vector<KvLayer> layers_;
};

}  // namespace tutti::ar
