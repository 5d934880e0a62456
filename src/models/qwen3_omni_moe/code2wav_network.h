// The layers of code2wav: codec frames [T, num_quantizers] to samples, every one causal.
//
//   mean of code embeddings -> pre-transformer (sliding window) -> per upsampling ratio:
//   transposed convolution, ConvNeXt block -> convolution -> per upsample rate: SnakeBeta,
//   transposed convolution, three residual units -> SnakeBeta -> convolution to one channel.
// Source: Qwen3-Omni's reference implementation (Qwen3OmniMoeCode2Wav in transformers).
// Thread: immutable after loading.
#pragma once

#include <array>
#include <vector>

#include "layers/attention.h"
#include "layers/mlp.h"
#include "layers/streaming_conv.h"
#include "models/qwen3_omni_moe/config.h"
#include "weights/weight_loader.h"

namespace tutti::qwen3_omni_moe {

// x + inv_beta * sin^2(alpha * x), parameters exponentiated at load.
struct SnakeBeta {
  Tensor alpha;
  Tensor inv_beta;
};

struct TransformerLayer {
  RmsNorm input_norm;
  SelfAttention attention;
  Tensor attention_scale;  // LayerScale [hidden]
  RmsNorm post_attention_norm;
  GatedMlp mlp;
  Tensor mlp_scale;
};

// Depthwise convolution, LayerNorm, pointwise MLP with gelu, scaled and added to the input.
struct ConvNeXtBlock {
  CausalConv1d depthwise;
  Tensor norm_weight;
  Tensor norm_bias;
  Linear expand;
  Linear shrink;
  Tensor gamma;
};

struct UpsampleStage {
  TransposedConv1d upsample;
  ConvNeXtBlock block;
};

struct ResidualUnit {
  SnakeBeta act1;
  CausalConv1d conv1;
  SnakeBeta act2;
  CausalConv1d conv2;
};

struct DecoderBlock {
  SnakeBeta act;
  TransposedConv1d upsample;
  std::array<ResidualUnit, 3> units;
};

struct Code2WavNetwork {
  Tensor code_embedding;  // [num_quantizers * codebook_size, hidden]
  std::vector<TransformerLayer> layers;
  RmsNorm norm;
  RotaryTable rotary;
  std::vector<UpsampleStage> upsample;
  CausalConv1d decoder_in;
  std::vector<DecoderBlock> blocks;
  SnakeBeta act_out;
  CausalConv1d decoder_out;
  std::shared_ptr<const void> shared = nullptr;  // the load whose handles these are copies of
};

Code2WavNetwork load_code2wav_network(WeightLoader& weights, const Code2WavConfig& config);

// One sequence's convolution tails, in the order of the layers.
struct Code2WavTails {
  struct Upsample {
    ConvTail transposed;
    ConvTail depthwise;
  };
  struct Block {
    ConvTail transposed;
    std::array<ConvTail, 3> units;  // of conv1; conv2 has a kernel of 1
  };
  std::vector<Upsample> upsample;
  ConvTail decoder_in;
  std::vector<Block> blocks;
  ConvTail decoder_out;

  static Code2WavTails fresh(const Code2WavNetwork& network);
};

}  // namespace tutti::qwen3_omni_moe
