// The CPU's kernels: free functions over raw pointers, sizes and strides, gathered in one table per
// instruction set. No allocation, no logging, no Status.
//
// Every kernel is written once over vectors of 16 lanes (kernels/*.inc) and compiled per
// instruction set; the order of every sum is part of that one text, so that all tables give
// the same bits. Thread: any; a kernel touches only the memory it is given.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace tutti::cpu {

// A vector of parameters, F32 or BF16; null when absent.
struct Param {
  const void* data = nullptr;
  bool is_bf16 = false;
};

enum class Act : uint8_t { kNone, kSilu, kGelu, kGeluTanh };

// out[m, n] = act(bias[n] + sum_i x[m, i] w[n, i]) + residual[m, n]. A row of w is `segments` runs
// of `segment_length` elements one after another; a row of x has its runs x_segment_stride apart
// (a dilated convolution; a linear map is one segment).
struct LinearArgs {
  const float* x = nullptr;
  int64_t x_stride = 0;
  const void* w = nullptr;
  bool w_is_bf16 = false;
  int64_t w_stride = 0;
  int64_t segments = 1;
  int64_t segment_length = 0;
  int64_t x_segment_stride = 0;
  Param bias;
  Act act = Act::kNone;
  const float* residual = nullptr;  // may be out
  int64_t residual_stride = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
};

// out[m, n] += sum_r low[m, r] b[n, r], a low-rank map's second product. b lies as tiles of 16
// columns n, [ceil(columns / 16), rank, 16].
struct LowRankArgs {
  const float* low = nullptr;  // [rows, rank]
  Param b;
  int64_t rank = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
};

// Keys and values of one head: position p lies at row p % block_size of block table[p /
// block_size]. A null table is one block that holds everything.
struct KvSource {
  const void* k = nullptr;
  const void* v = nullptr;
  bool is_bf16 = false;
  const int32_t* table = nullptr;
  int64_t block_size = 0;
  int64_t block_stride = 0;  // elements
  int64_t row_stride = 0;    // elements
};

// Positions are taken in ranges of this many keys, aligned to absolute positions.
inline constexpr int64_t kKeyRange = 256;

// A tile of query rows that share keys. Row r sees the positions [first[r], last[r]).
struct AttentionTile {
  const float* q = nullptr;  // [rows, head_dim]
  int64_t rows = 0;
  int64_t head_dim = 0;
  const int64_t* first = nullptr;
  const int64_t* last = nullptr;
  float scale = 1;
  float* scores = nullptr;  // scratch [rows, kKeyRange]
};

// Softmax over a part of the keys: the largest score, the sum of exp(score - max), and the values
// weighted by it. max is -infinity for a row that saw no key; its other fields are not set then.
struct AttentionPart {
  float* max = nullptr;  // [rows]
  float* sum = nullptr;  // [rows]
  float* acc = nullptr;  // [rows, head_dim]
};

struct CpuKernels {
  const char* name;

  // Rows [m0, m1) and columns [n0, n1) of a linear map.
  void (*linear)(const LinearArgs& args, int64_t m0, int64_t m1, int64_t n0, int64_t n1);
  // Columns [n0, n1) of `rows` rows; n0 is a multiple of 16.
  void (*low_rank)(const LowRankArgs& args, int64_t rows, int64_t n0, int64_t n1);

  // The part of the range [begin, begin + kKeyRange) that the tile's rows see.
  void (*attend_range)(const KvSource& kv, const AttentionTile& tile, int64_t begin,
                       const AttentionPart& part);
  // total += part, row by row; a total starts with max = -infinity, sum = 0, acc = 0.
  void (*merge_parts)(const AttentionPart& total, const AttentionPart& part, int64_t rows,
                      int64_t head_dim);

  // Elementwise over n elements; outputs may be inputs.
  void (*add)(const float* a, const float* b, float* out, int64_t n);
  void (*scale)(const float* x, float factor, float* out, int64_t n);
  void (*axpy)(float factor, const float* x, float* out, int64_t n);  // out += factor x
  void (*silu_mul)(const float* gate, const float* up, float* out, int64_t n);
  void (*activate)(Act act, const float* x, float* out, int64_t n);
  void (*scale_add)(const float* x, Param scale, const float* residual, float* out, int64_t n);
  void (*clamp)(const float* x, float low, float high, float* out, int64_t n);
  void (*snake)(const float* x, Param alpha, Param inv_beta, float* out, int64_t n);
  void (*to_f32)(const bf16* from, float* to, int64_t n);
  void (*to_bf16)(const float* from, bf16* to, int64_t n);
  // out += x where x is a row of a table.
  void (*add_row)(Param x, float* out, int64_t n);

  // One row.
  void (*rms_norm)(const float* x, Param weight, float eps, float* out, int64_t n);
  void (*layer_norm)(const float* x, Param weight, Param bias, float eps, float* out, int64_t n);
  // One head of 2 * half elements, in place.
  void (*rotary)(float* x, const float* cos, const float* sin, int64_t half);
  // out[c] = bias[c] + sum_k w[k, c] x[k, c]; x and w have rows of `channels`.
  void (*depthwise)(const float* x, Param w, Param bias, int64_t taps, int64_t channels,
                    float* out);
  float (*max)(const float* x, int64_t n);
  // out = exp((x - shift) * factor)
  void (*exp)(const float* x, float factor, float shift, float* out, int64_t n);
};

// Tables by instruction set; avx2 and avx512 may only be called where the CPU has them, and are
// null when the program was built for another architecture.
const CpuKernels* scalar_kernels();
const CpuKernels* avx2_kernels();
const CpuKernels* avx512_kernels();

}  // namespace tutti::cpu
