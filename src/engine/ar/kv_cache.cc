#include "engine/ar/kv_cache.h"

#include <algorithm>

namespace tutti::ar {

int64_t kv_bytes_per_block(const ArModelInfo& info, int32_t block_size) {
  return 2 * info.num_layers * info.num_key_value_heads * block_size * info.head_dim *
         static_cast<int64_t>(dtype_bytes(info.kv_dtype));
}

int64_t kv_num_blocks(const ArModelInfo& info, const StageEngineOptions& options,
                      int64_t max_model_len) {
  const int64_t per_sequence = (max_model_len + options.block_size - 1) / options.block_size;
  const int64_t useful = per_sequence * options.max_num_seqs;
  const int64_t bytes = std::max<int64_t>(1, kv_bytes_per_block(info, options.block_size));
  return std::max<int64_t>(1, std::min(useful, options.kv_cache_bytes / bytes));
}

KvCache::KvCache(const ArModelInfo& info, int64_t num_blocks, int32_t block_size)
    : shape_{num_blocks, info.num_key_value_heads, block_size, info.head_dim},
      dtype_(info.kv_dtype),
      num_layers_(info.num_layers) {
  allocate();
}

void KvCache::allocate() {
  layers_.clear();
  for (int64_t layer = 0; layer < num_layers_; ++layer) {
    layers_.push_back({Tensor::empty(shape_, dtype_), Tensor::empty(shape_, dtype_)});
  }
}

}  // namespace tutti::ar
