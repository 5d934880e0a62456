#include "ops/attention.h"

#include <cstring>
#include <limits>

#include "ops/parallel.h"

namespace tutti::ops {

namespace {

using cpu::kKeyRange;

constexpr int64_t kMaxTileRows = 24;  // query rows per tile: whole tiles of 6 and of 3

// Everything a tile needs that is not in the batch.
struct Scratch {
  float* q;
  float* scores;
  float* acc;
  float* part_acc;
};

// Scratch of all threads in one workspace tensor.
class ScratchSpace {
 public:
  ScratchSpace(OpContext& ctx, int64_t rows, int64_t head_dim)
      : rows_(rows), head_dim_(head_dim), each_(rows * (kKeyRange + 3 * head_dim)) {
    memory_ = ctx.workspace.tensor({pool_threads(ctx), each_});
  }
  Scratch of(int thread) const {
    float* p = memory_.data<float>() + thread * each_;
    const int64_t q_size = rows_ * head_dim_;
    return {p, p + 3 * q_size, p + q_size, p + 2 * q_size};
  }

 private:
  int64_t rows_;
  int64_t head_dim_;
  int64_t each_;
  Tensor memory_;
};

// One sequence: where its queries lie and what they see.
struct Sequence {
  int64_t query_begin = 0;  // row of the first query
  int64_t query_count = 0;
  int64_t first_position = 0;  // of the first query
  int64_t key_count = 0;
  bool causal = true;
  int64_t window = 0;

  int64_t first_key(int64_t query) const {
    if (window <= 0) return 0;
    return std::max<int64_t>(0, first_position + query - window + 1);
  }
  int64_t last_key(int64_t query) const {
    return causal ? std::min(first_position + query + 1, key_count) : key_count;
  }
};

// A tile: the queries [begin, end) of a sequence for the query heads of one key/value head.
struct Tile {
  Sequence sequence;
  cpu::KvSource kv;
  int64_t head_begin;
  int64_t heads;
  int64_t begin;
  int64_t end;
};

struct TileState {
  int64_t first[kMaxTileRows];
  int64_t last[kMaxTileRows];
  float max[kMaxTileRows];
  float sum[kMaxTileRows];
  float part_max[kMaxTileRows];
  float part_sum[kMaxTileRows];
  int64_t first_key = 0;  // of all rows
  int64_t last_key = 0;
};

// Gathers the tile's queries and their visible positions.
void load_tile(const Tile& tile, const HeadRows& q, int64_t head_dim, float* to, TileState& s) {
  s.first_key = std::numeric_limits<int64_t>::max();
  s.last_key = 0;
  int64_t r = 0;
  for (int64_t t = tile.begin; t < tile.end; ++t) {
    for (int64_t h = 0; h < tile.heads; ++h, ++r) {
      std::memcpy(to + r * head_dim, q.at(tile.sequence.query_begin + t, tile.head_begin + h),
                  static_cast<size_t>(head_dim) * sizeof(float));
      s.first[r] = tile.sequence.first_key(t);
      s.last[r] = tile.sequence.last_key(t);
    }
    s.first_key = std::min(s.first_key, tile.sequence.first_key(t));
    s.last_key = std::max(s.last_key, tile.sequence.last_key(t));
  }
}

void store_tile(const Tile& tile, const HeadRows& out, int64_t head_dim, const float* acc,
                const float* sum) {
  int64_t r = 0;
  for (int64_t t = tile.begin; t < tile.end; ++t) {
    for (int64_t h = 0; h < tile.heads; ++h, ++r) {
      const float inverse = sum[r] > 0 ? 1.0f / sum[r] : 0.0f;
      cpu::kernels().scale(acc + r * head_dim, inverse,
                           out.at(tile.sequence.query_begin + t, tile.head_begin + h), head_dim);
    }
  }
}

cpu::AttentionTile kernel_tile(const Scratch& scratch, const TileState& s, int64_t rows,
                               int64_t head_dim, float scale) {
  return {scratch.q, rows, head_dim, s.first, s.last, scale, scratch.scores};
}

void clear(const cpu::AttentionPart& total, int64_t rows, int64_t head_dim) {
  for (int64_t r = 0; r < rows; ++r) {
    total.max[r] = -std::numeric_limits<float>::infinity();
    total.sum[r] = 0;
  }
  std::memset(total.acc, 0, static_cast<size_t>(rows * head_dim) * sizeof(float));
}

void attend_tile(const Tile& tile, const HeadRows& q, const HeadRows& out, int64_t head_dim,
                 float scale, const Scratch& scratch) {
  TileState s;
  const int64_t rows = (tile.end - tile.begin) * tile.heads;
  load_tile(tile, q, head_dim, scratch.q, s);
  const cpu::AttentionPart total{s.max, s.sum, scratch.acc};
  const cpu::AttentionPart part{s.part_max, s.part_sum, scratch.part_acc};
  clear(total, rows, head_dim);
  const cpu::AttentionTile kernel = kernel_tile(scratch, s, rows, head_dim, scale);
  for (int64_t p = s.first_key / kKeyRange * kKeyRange; p < s.last_key; p += kKeyRange) {
    cpu::kernels().attend_range(tile.kv, kernel, p, part);
    cpu::kernels().merge_parts(total, part, rows, head_dim);
  }
  store_tile(tile, out, head_dim, scratch.acc, s.sum);
}

// Queries of a tile, so that `group` query heads per key/value head fill it.
int64_t tile_queries(int64_t group) { return std::max<int64_t>(1, kMaxTileRows / group); }
// Query heads that one tile takes (all of a group unless it is very wide).
int64_t tile_heads(int64_t group) { return std::min(group, kMaxTileRows); }

// Runs tiles for every (sequence, key/value head, head piece, query piece).
template <typename MakeTile>
void run_tiles(OpContext& ctx, int64_t sequences, int64_t kv_heads, int64_t group,
               int64_t max_queries, const HeadRows& q, const HeadRows& out, int64_t head_dim,
               float scale, int64_t work, const MakeTile& make_tile) {
  const int64_t queries = std::min(tile_queries(group), std::max<int64_t>(max_queries, 1));
  const int64_t heads = tile_heads(group);
  const int64_t query_pieces = (max_queries + queries - 1) / queries;
  const int64_t head_pieces = (group + heads - 1) / heads;
  const ScratchSpace space(ctx, std::min(queries * heads, kMaxTileRows), head_dim);
  const auto run = [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) {
      // The last queries see the most keys: they go first, so that threads end together.
      const int64_t query = (query_pieces - 1 - i / (sequences * kv_heads * head_pieces)) * queries;
      const int64_t rest = i % (sequences * kv_heads * head_pieces);
      const int64_t piece = rest % head_pieces * heads;
      const int64_t kv_head = rest / head_pieces % kv_heads;
      Tile tile = make_tile(rest / head_pieces / kv_heads, kv_head);
      if (query >= tile.sequence.query_count) continue;
      tile.begin = query;
      tile.end = std::min(query + queries, tile.sequence.query_count);
      tile.head_begin = kv_head * group + piece;
      tile.heads = std::min(heads, group - piece);
      attend_tile(tile, q, out, head_dim, scale, space.of(thread));
    }
  };
  const int64_t n = query_pieces * sequences * kv_heads * head_pieces;
  if (ctx.pool == nullptr || work < 4 * kParallelWork) {
    run(0, n, 0);
  } else {
    ctx.pool->parallel_for(n, 1, run);
  }
}

cpu::KvSource cache_source(const KvCacheView& cache, int64_t kv_head) {
  const int64_t block_size = cache.k.dim(2), head_dim = cache.k.dim(3);
  const size_t head_bytes =
      static_cast<size_t>(kv_head * block_size * head_dim) * dtype_bytes(cache.k.dtype());
  cpu::KvSource kv;
  kv.k = static_cast<const std::byte*>(cache.k.raw_data()) + head_bytes;
  kv.v = static_cast<const std::byte*>(cache.v.raw_data()) + head_bytes;
  kv.is_bf16 = cache.k.dtype() == DType::kBF16;
  kv.block_size = block_size;
  kv.block_stride = cache.k.dim(1) * block_size * head_dim;
  kv.row_stride = head_dim;
  return kv;
}

void check_cache(const KvCacheView& cache, const PagedBatch& batch) {
  TUTTI_CHECK(cache.k.rank() == 4 && cache.k.shape() == cache.v.shape() &&
                  cache.k.dtype() == cache.v.dtype() && is_weight_dtype(cache.k.dtype()) &&
                  cache.k.is_contiguous() && cache.v.is_contiguous(),
              "a cache is [num_blocks, num_key_value_heads, block_size, head_dim], F32 or BF16");
  for (const Tensor* t :
       {&batch.query_start, &batch.kv_lengths, &batch.block_tables, &batch.slots}) {
    TUTTI_CHECK(t->dtype() == DType::kI32, "a batch's indices are I32");
  }
}

Sequence paged_sequence(const PagedBatch& batch, int64_t s, int64_t window) {
  const int32_t* start = batch.query_start.data<int32_t>();
  const int64_t length = batch.kv_lengths.data<int32_t>()[s];
  const int64_t count = start[s + 1] - start[s];
  return {start[s], count, length - count, length, true, window};
}

// A few new tokens and many keys: the ranges of keys are parts that any thread may compute; the
// parts of a row are then merged in order, as attend_tile does.
void attend_split(OpContext& ctx, const HeadRows& q, const HeadRows& out, const KvCacheView& cache,
                  const PagedBatch& batch, float scale, int64_t window) {
  const int64_t kv_heads = cache.k.dim(1), head_dim = cache.k.dim(3), group = q.heads / kv_heads;
  const int64_t ranges = (batch.max_kv_length + kKeyRange - 1) / kKeyRange;
  const int64_t pairs = batch.num_sequences * kv_heads;
  const Tensor acc = ctx.workspace.tensor({pairs, ranges, group * head_dim});
  const Tensor max = ctx.workspace.tensor({pairs, ranges, group});
  const Tensor sum = ctx.workspace.tensor({pairs, ranges, group});
  const ScratchSpace space(ctx, group, head_dim);
  const auto make_tile = [&](int64_t pair) {
    Tile tile{paged_sequence(batch, pair / kv_heads, window),
              cache_source(cache, pair % kv_heads),
              pair % kv_heads * group,
              group,
              0,
              1};
    tile.kv.table =
        batch.block_tables.data<int32_t>() + pair / kv_heads * batch.block_tables.row_stride();
    tile.end = tile.sequence.query_count;
    return tile;
  };
  const auto part_of = [&](int64_t i) {
    return cpu::AttentionPart{max.data<float>() + i * group, sum.data<float>() + i * group,
                              acc.data<float>() + i * group * head_dim};
  };
  ctx.pool->parallel_for(pairs * ranges, 1, [&](int64_t begin, int64_t end, int thread) {
    const Scratch scratch = space.of(thread);
    for (int64_t i = begin; i < end; ++i) {
      const Tile tile = make_tile(i / ranges);
      const int64_t p = i % ranges * kKeyRange;
      if (tile.sequence.query_count == 0 || p >= tile.sequence.key_count ||
          p + kKeyRange <= tile.sequence.first_key(0)) {
        continue;
      }
      TileState s;
      load_tile(tile, q, head_dim, scratch.q, s);
      cpu::kernels().attend_range(tile.kv, kernel_tile(scratch, s, group, head_dim, scale), p,
                                  part_of(i));
    }
  });
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const Tile tile = make_tile(pair);
    if (tile.sequence.query_count == 0) continue;
    const Scratch scratch = space.of(0);
    TileState s;
    load_tile(tile, q, head_dim, scratch.q, s);
    const cpu::AttentionPart total{s.max, s.sum, scratch.acc};
    clear(total, group, head_dim);
    for (int64_t r = s.first_key / kKeyRange; r * kKeyRange < s.last_key; ++r) {
      cpu::kernels().merge_parts(total, part_of(pair * ranges + r), group, head_dim);
    }
    store_tile(tile, out, head_dim, scratch.acc, s.sum);
  }
}

}  // namespace

void write_kv(OpContext& ctx, const Tensor& k, const Tensor& v, const PagedBatch& batch,
              const KvCacheView& cache) {
  check_cpu(ctx);
  check_cache(cache, batch);
  const int64_t kv_heads = cache.k.dim(1), block_size = cache.k.dim(2), head_dim = cache.k.dim(3);
  const HeadRows keys = head_rows(k, head_dim), values = head_rows(v, head_dim);
  TUTTI_CHECK(keys.heads == kv_heads && values.heads == kv_heads && keys.tokens == values.tokens &&
                  batch.slots.num_elements() >= keys.tokens,
              "k and v are [T, num_key_value_heads, head_dim], slots [T]");
  const int32_t* slots = batch.slots.data<int32_t>();
  const auto put = [&](const float* from, const Tensor& to, int64_t at) {
    if (to.dtype() == DType::kBF16) {
      cpu::kernels().to_bf16(from, to.data<bf16>() + at, head_dim);
    } else {
      std::memcpy(to.data<float>() + at, from, static_cast<size_t>(head_dim) * sizeof(float));
    }
  };
  for_rows(ctx, keys.tokens, 2 * kv_heads * head_dim, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      if (slots[t] < 0) continue;
      const int64_t block = slots[t] / block_size, offset = slots[t] % block_size;
      for (int64_t h = 0; h < kv_heads; ++h) {
        const int64_t at = ((block * kv_heads + h) * block_size + offset) * head_dim;
        put(keys.at(t, h), cache.k, at);
        put(values.at(t, h), cache.v, at);
      }
    }
  });
}

void paged_attention(OpContext& ctx, const Tensor& q, const KvCacheView& cache,
                     const PagedBatch& batch, float scale, int64_t window, const Tensor& out) {
  check_cpu(ctx);
  check_cache(cache, batch);
  const int64_t kv_heads = cache.k.dim(1), head_dim = cache.k.dim(3);
  const HeadRows queries = head_rows(q, head_dim), results = head_rows(out, head_dim);
  TUTTI_CHECK(queries.heads % kv_heads == 0 && queries.heads == results.heads &&
                  queries.tokens == results.tokens,
              "q and out are [T, num_attention_heads, head_dim]");
  const int64_t group = queries.heads / kv_heads;
  Workspace::Scope scope(ctx.workspace);
  const int64_t keys = window > 0 ? std::min(batch.max_kv_length, window + batch.max_query_length)
                                  : batch.max_kv_length;
  const int64_t work = queries.tokens * queries.heads * keys * head_dim / 4;
  const int64_t pairs = batch.num_sequences * kv_heads;
  if (batch.max_query_length == 1 && group <= kMaxTileRows && keys >= 2 * kKeyRange &&
      pairs < 4 * pool_threads(ctx) && work >= 4 * kParallelWork && pool_threads(ctx) > 1) {
    attend_split(ctx, queries, results, cache, batch, scale, window);
    return;
  }
  run_tiles(ctx, batch.num_sequences, kv_heads, group, batch.max_query_length, queries, results,
            head_dim, scale, work, [&](int64_t s, int64_t kv_head) {
              Tile tile{paged_sequence(batch, s, window), cache_source(cache, kv_head), 0, 0, 0, 0};
              tile.kv.table =
                  batch.block_tables.data<int32_t>() + s * batch.block_tables.row_stride();
              return tile;
            });
}

void segment_attention(OpContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                       const Tensor& segment_start, int64_t num_segments, float scale, bool causal,
                       const Tensor& out) {
  check_cpu(ctx);
  TUTTI_CHECK(q.rank() == 3 && k.rank() == 3 && v.rank() == 3,
              "q is [T, H, D], k and v are [T, Hkv, D]");
  TUTTI_CHECK(
      segment_start.dtype() == DType::kI32 && segment_start.num_elements() >= num_segments + 1,
      "segment_start is [S + 1] I32");
  const int64_t head_dim = q.dim(2);
  const HeadRows queries = head_rows(q, head_dim), results = head_rows(out, head_dim);
  const HeadRows keys = head_rows(k, head_dim), values = head_rows(v, head_dim);
  TUTTI_CHECK(queries.heads % keys.heads == 0 && keys.heads == values.heads &&
                  keys.token_stride == values.token_stride && queries.tokens == keys.tokens,
              "q's heads are a multiple of k's; k and v have one layout");
  const int32_t* start = segment_start.data<int32_t>();
  int64_t longest = 0, work = 0;
  for (int64_t s = 0; s < num_segments; ++s) {
    const int64_t length = start[s + 1] - start[s];
    longest = std::max(longest, length);
    work += length * length * queries.heads * head_dim / 4;
  }
  Workspace::Scope scope(ctx.workspace);
  run_tiles(ctx, num_segments, keys.heads, queries.heads / keys.heads, longest, queries, results,
            head_dim, scale, work, [&](int64_t s, int64_t kv_head) {
              const int64_t length = start[s + 1] - start[s];
              Tile tile{{start[s], length, 0, length, causal, 0}, {}, 0, 0, 0, 0};
              tile.kv.k = keys.at(start[s], kv_head);
              tile.kv.v = values.at(start[s], kv_head);
              tile.kv.row_stride = keys.token_stride;
              return tile;
            });
}

}  // namespace tutti::ops
