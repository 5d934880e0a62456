// Low-rank adapters (LoRA, Hu et al. 2021): out += scale * B (A x) for the rows of an adapter,
// beside the map that all rows share.
//
// A batch holds rows of many adapters and of none. Which rows go through which is said once per
// step by LoraRows in the OpContext; every linear map that adapters may change has a number, by
// which they find their matrices. Rows of none keep every bit of what they would be without
// adapters, and a row's bits don't depend on its neighbours.
// Thread: adapters are immutable; rows belong to the step in progress.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/context.h"

namespace tutti {

// What one adapter adds to one linear map; undefined tensors: nothing.
struct LoraMatrices {
  Tensor a;  // [rank, in_features] F32 or BF16
  Tensor b;  // pack_lora_b() of [out_features, rank] F32 or BF16
  float scale = 1;
  int64_t out_features = 0;
};

// A matrix [out_features, rank] as tiles of 16 rows, each rank by rank: [ceil(out_features / 16),
// rank, 16], zero where there is no row.
Tensor pack_lora_b(const Tensor& b);

struct LoraAdapter {
  std::vector<LoraMatrices> maps;  // by the maps' numbers; empty: it changes nothing here
  int64_t rank = 0;                // the largest
  size_t bytes = 0;
  uint64_t content_hash = 0;  // of matrices and scales; zero when it changes nothing

  bool empty() const { return maps.empty(); }
};

// Rows [begin, end) of one adapter.
struct LoraRun {
  int64_t begin = 0;
  int64_t end = 0;
  const LoraAdapter* adapter = nullptr;
};

// The rows of a tensor in their order, as runs; rows in no run go through no adapter.
class LoraRows {
 public:
  void reserve(size_t runs) { runs_.reserve(runs); }
  void clear() {
    runs_.clear();
    rows_ = 0;
  }
  // The next rows. Null: no adapter.
  void add(const LoraAdapter* adapter, int64_t count = 1);
  // Becomes the rows `index`, rising, of `rows` (null: without adapters).
  void pick(const LoraRows* rows, std::span<const int32_t> index);
  std::span<const LoraRun> runs() const { return runs_; }

 private:
  std::vector<LoraRun> runs_;
  int64_t rows_ = 0;
};

inline const LoraRows kNoLoraRows;

// Linear maps see `rows` until its end.
class LoraScope {
 public:
  LoraScope(OpContext& ctx, const LoraRows& rows) : ctx_(ctx), before_(ctx.lora) {
    ctx.lora = rows.runs().empty() ? nullptr : &rows;
  }
  ~LoraScope() { ctx_.lora = before_; }
  LoraScope(const LoraScope&) = delete;
  LoraScope& operator=(const LoraScope&) = delete;

 private:
  OpContext& ctx_;
  const LoraRows* before_;
};

}  // namespace tutti
