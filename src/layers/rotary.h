// RotaryTable: frequencies of a rotary position embedding, plain or interleaved multi-modal.
//
// Thread: immutable; any thread.
#pragma once

#include <span>

#include "backend/context.h"

namespace tutti {

struct RotaryAngles {
  Tensor cos;  // [T, head_dim / 2]
  Tensor sin;
};

class RotaryTable {
 public:
  RotaryTable() = default;
  // inv_freq[i] = theta^(-2i / head_dim). mrope_section (temporal, height, width; empty: plain)
  // gives frequency i the height position when i % 3 == 1 and i < 3 * section[1], the width
  // position when i % 3 == 2 and i < 3 * section[2], and the temporal one otherwise (Qwen3-VL's
  // interleaved mrope).
  RotaryTable(int64_t head_dim, double theta, std::span<const int64_t> mrope_section = {});

  // Rows of `positions` that angles() expects: 1, or 3 with mrope.
  int64_t num_axes() const { return num_axes_; }
  // positions [num_axes, T] F32; angles in the workspace.
  RotaryAngles angles(OpContext& ctx, const Tensor& positions) const;

 private:
  int64_t num_axes_ = 1;
  Tensor inv_freq_;  // [head_dim / 2] F32
  Tensor axis_;      // [head_dim / 2] I32
};

}  // namespace tutti
