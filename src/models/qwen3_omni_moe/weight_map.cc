#include "models/qwen3_omni_moe/weight_map.h"

namespace tutti::qwen3_omni_moe {

Linear load_linear(WeightLoader& weights, const std::string& prefix, int64_t out, int64_t in,
                   bool bias) {
  Linear linear{weights.get(prefix + ".weight", {out, in}), Tensor()};
  if (bias) linear.bias = weights.get(prefix + ".bias", {out});
  return linear;
}

RmsNorm load_norm(WeightLoader& weights, const std::string& name, int64_t size, float eps) {
  return {weights.get(name, {size}), eps};
}

LayerNorm load_layer_norm(WeightLoader& weights, const std::string& prefix, int64_t size,
                          float eps) {
  return {weights.get(prefix + ".weight", {size}), weights.get(prefix + ".bias", {size}), eps};
}

SelfAttention load_attention(WeightLoader& weights, const std::string& prefix,
                             const DecoderConfig& c) {
  const int64_t q_width = c.num_attention_heads * c.head_dim;
  const int64_t kv_width = c.num_key_value_heads * c.head_dim;
  SelfAttention a;
  a.q_proj = load_linear(weights, prefix + ".q_proj", q_width, c.hidden_size, c.attention_bias);
  a.k_proj = load_linear(weights, prefix + ".k_proj", kv_width, c.hidden_size, c.attention_bias);
  a.v_proj = load_linear(weights, prefix + ".v_proj", kv_width, c.hidden_size, c.attention_bias);
  a.o_proj = load_linear(weights, prefix + ".o_proj", c.hidden_size, q_width, c.attention_bias);
  if (c.qk_norm) {
    a.q_norm = load_norm(weights, prefix + ".q_norm.weight", c.head_dim, c.rms_norm_eps);
    a.k_norm = load_norm(weights, prefix + ".k_norm.weight", c.head_dim, c.rms_norm_eps);
  }
  a.num_attention_heads = c.num_attention_heads;
  a.num_key_value_heads = c.num_key_value_heads;
  a.head_dim = c.head_dim;
  a.window = c.sliding_window;
  return a;
}

GatedMlp load_mlp(WeightLoader& weights, const std::string& prefix, int64_t hidden_size,
                  int64_t intermediate_size) {
  return {load_linear(weights, prefix + ".gate_proj", intermediate_size, hidden_size, false),
          load_linear(weights, prefix + ".up_proj", intermediate_size, hidden_size, false),
          load_linear(weights, prefix + ".down_proj", hidden_size, intermediate_size, false)};
}

namespace {

MoeBlock load_moe(WeightLoader& weights, const std::string& prefix, const DecoderConfig& c) {
  MoeBlock moe;
  moe.router = load_linear(weights, prefix + ".gate", c.num_experts, c.hidden_size, false);
  moe.top_k = c.num_experts_per_tok;
  moe.normalize = c.norm_topk_prob;
  for (int64_t e = 0; e < c.num_experts; ++e) {
    const GatedMlp expert = load_mlp(weights, prefix + ".experts." + std::to_string(e),
                                     c.hidden_size, c.moe_intermediate_size);
    moe.experts.push_back(
        {expert.gate_proj.weight, expert.up_proj.weight, expert.down_proj.weight});
  }
  if (c.shared_expert_intermediate_size > 0) {
    moe.shared_expert = load_mlp(weights, prefix + ".shared_expert", c.hidden_size,
                                 c.shared_expert_intermediate_size);
    moe.shared_gate = load_linear(weights, prefix + ".shared_expert_gate", 1, c.hidden_size, false);
  }
  return moe;
}

}  // namespace

DecoderLayer load_decoder_layer(WeightLoader& weights, const std::string& prefix, int64_t index,
                                const DecoderConfig& c) {
  const std::string at = prefix + std::to_string(index);
  DecoderLayer layer;
  layer.input_norm =
      load_norm(weights, at + ".input_layernorm.weight", c.hidden_size, c.rms_norm_eps);
  layer.attention = load_attention(weights, at + ".self_attn", c);
  layer.post_attention_norm =
      load_norm(weights, at + ".post_attention_layernorm.weight", c.hidden_size, c.rms_norm_eps);
  if (c.is_sparse(index)) {
    layer.mlp = load_moe(weights, at + ".mlp", c);
  } else {
    layer.mlp = load_mlp(weights, at + ".mlp", c.hidden_size, c.intermediate_size);
  }
  return layer;
}

ResizeMlp load_resize_mlp(WeightLoader& weights, const std::string& prefix, int64_t in,
                          int64_t middle, int64_t out) {
  return {load_linear(weights, prefix + ".linear_fc1", middle, in, true),
          load_linear(weights, prefix + ".linear_fc2", out, middle, true)};
}

CausalConv1d load_conv(WeightLoader& weights, const std::string& prefix, int64_t in, int64_t out,
                       int64_t kernel, int64_t dilation) {
  const std::string name = prefix + ".conv.weight";
  CausalConv1d conv;
  const Tensor weight = weights.get_f32(name, {out, in, kernel});
  if (weight.defined()) conv.weight = weights.finalize(name, repack_conv(weight));
  conv.bias = weights.get(prefix + ".conv.bias", {out});
  conv.dilation = dilation;
  return conv;
}

CausalConv1d load_depthwise(WeightLoader& weights, const std::string& prefix, int64_t channels,
                            int64_t kernel) {
  const std::string name = prefix + ".conv.weight";
  CausalConv1d conv;
  const Tensor weight = weights.get_f32(name, {channels, 1, kernel});
  if (weight.defined()) conv.weight = weights.finalize(name, repack_depthwise(weight));
  conv.bias = weights.get(prefix + ".conv.bias", {channels});
  conv.depthwise = true;
  return conv;
}

TransposedConv1d load_transposed(WeightLoader& weights, const std::string& prefix, int64_t in,
                                 int64_t out, int64_t kernel, int64_t stride) {
  const std::string name = prefix + ".conv.weight";
  TransposedConv1d conv;
  const Tensor weight = weights.get_f32(name, {in, out, kernel});
  if (weight.defined()) {
    conv.weight = weights.finalize(name, repack_transposed(weight, stride));
  }
  const Tensor bias = weights.get_f32(prefix + ".conv.bias", {out});
  if (bias.defined()) conv.bias = repeat_bias(bias, stride);
  conv.stride = stride;
  return conv;
}

}  // namespace tutti::qwen3_omni_moe
