// Names of the family's tensors, and the layers built from them.
//
// Errors stay in the WeightLoader until its finish(); layers built after an error must not run.
#pragma once

#include <string>

#include "layers/decoder_layer.h"
#include "layers/streaming_conv.h"
#include "models/qwen3_omni_moe/config.h"
#include "weights/weight_loader.h"

namespace tutti::qwen3_omni_moe {

// "prefix.weight" [out, in] and, with bias, "prefix.bias" [out].
Linear load_linear(WeightLoader& weights, const std::string& prefix, int64_t out, int64_t in,
                   bool bias);
RmsNorm load_norm(WeightLoader& weights, const std::string& name, int64_t size, float eps);
LayerNorm load_layer_norm(WeightLoader& weights, const std::string& prefix, int64_t size,
                          float eps);
SelfAttention load_attention(WeightLoader& weights, const std::string& prefix,
                             const DecoderConfig& config);
GatedMlp load_mlp(WeightLoader& weights, const std::string& prefix, int64_t hidden_size,
                  int64_t intermediate_size);
// Layer `index` under prefix "....layers.".
DecoderLayer load_decoder_layer(WeightLoader& weights, const std::string& prefix, int64_t index,
                                const DecoderConfig& config);
// "prefix.linear_fc1" and "prefix.linear_fc2".
ResizeMlp load_resize_mlp(WeightLoader& weights, const std::string& prefix, int64_t in,
                          int64_t middle, int64_t out);
// "prefix.conv.weight" and "prefix.conv.bias", repacked.
CausalConv1d load_conv(WeightLoader& weights, const std::string& prefix, int64_t in, int64_t out,
                       int64_t kernel, int64_t dilation = 1);
CausalConv1d load_depthwise(WeightLoader& weights, const std::string& prefix, int64_t channels,
                            int64_t kernel);
TransposedConv1d load_transposed(WeightLoader& weights, const std::string& prefix, int64_t in,
                                 int64_t out, int64_t kernel, int64_t stride);

}  // namespace tutti::qwen3_omni_moe
