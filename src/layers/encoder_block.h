// EncoderBlock: a pre-norm transformer block of an encoder, with attention inside segments of
// packed rows (windows of a sound, frames of a clip) and optional rotary positions.
//
// Thread: immutable; any thread. Ownership: shares its tensors.
#pragma once

#include "layers/linear.h"
#include "layers/norm.h"
#include "layers/rotary.h"

namespace tutti {

// Rows [start[s], start[s + 1]) attend to each other, whatever else is in the batch.
struct Segments {
  Tensor start;  // [count + 1] I32
  int64_t count = 0;
};

struct EncoderAttention {
  Linear q_proj;
  Linear k_proj;
  Linear v_proj;
  Linear out_proj;
  int64_t num_heads = 0;

  // x += out_proj(attention(normed)); angles null: no rotary positions.
  void forward(OpContext& ctx, const Tensor& normed, const RotaryAngles* angles,
               const Segments& segments, const Tensor& x) const;
};

struct EncoderBlock {
  LayerNorm attention_norm;
  EncoderAttention attention;
  LayerNorm mlp_norm;
  Linear fc1;
  Linear fc2;
  ops::Activation activation = ops::Activation::kGelu;

  // x [T, width], in place.
  void forward(OpContext& ctx, const Tensor& x, const RotaryAngles* angles,
               const Segments& segments) const;
};

}  // namespace tutti
