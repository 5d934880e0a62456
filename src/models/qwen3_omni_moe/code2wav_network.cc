#include "models/qwen3_omni_moe/code2wav_network.h"

#include <cmath>

#include "models/qwen3_omni_moe/weight_map.h"

namespace tutti::qwen3_omni_moe {

namespace {

constexpr int64_t kConvKernel = 7;
constexpr std::array<int64_t, 3> kDilations = {1, 3, 9};

// The checkpoint holds logarithms; 1e-9 keeps a beta of 0 from dividing (BigVGAN).
SnakeBeta load_snake(WeightLoader& weights, const std::string& prefix, int64_t channels) {
  SnakeBeta snake{weights.get_f32(prefix + ".alpha", {channels}),
                  weights.get_f32(prefix + ".beta", {channels})};
  if (!snake.alpha.defined() || !snake.inv_beta.defined()) return snake;
  for (int64_t c = 0; c < channels; ++c) {
    float& alpha = snake.alpha.data<float>()[c];
    float& beta = snake.inv_beta.data<float>()[c];
    alpha = std::exp(alpha);
    beta = 1.0f / (std::exp(beta) + 1e-9f);
  }
  return snake;
}

TransformerLayer load_layer(WeightLoader& weights, int64_t index, const DecoderConfig& c) {
  const std::string at = "code2wav.pre_transformer.layers." + std::to_string(index);
  TransformerLayer layer;
  layer.input_norm =
      load_norm(weights, at + ".input_layernorm.weight", c.hidden_size, c.rms_norm_eps);
  layer.attention = load_attention(weights, at + ".self_attn", c);
  layer.attention_scale = weights.get(at + ".self_attn_layer_scale.scale", {c.hidden_size});
  layer.post_attention_norm =
      load_norm(weights, at + ".post_attention_layernorm.weight", c.hidden_size, c.rms_norm_eps);
  layer.mlp = load_mlp(weights, at + ".mlp", c.hidden_size, c.intermediate_size);
  layer.mlp_scale = weights.get(at + ".mlp_layer_scale.scale", {c.hidden_size});
  return layer;
}

UpsampleStage load_upsample(WeightLoader& weights, int64_t index, int64_t channels, int64_t ratio) {
  const std::string at = "code2wav.upsample." + std::to_string(index);
  const std::string block = at + ".1";
  UpsampleStage stage;
  stage.upsample = load_transposed(weights, at + ".0", channels, channels, ratio, ratio);
  stage.block.depthwise = load_depthwise(weights, block + ".dwconv", channels, kConvKernel);
  stage.block.norm_weight = weights.get(block + ".norm.weight", {channels});
  stage.block.norm_bias = weights.get(block + ".norm.bias", {channels});
  stage.block.expand = load_linear(weights, block + ".pwconv1", 4 * channels, channels, true);
  stage.block.shrink = load_linear(weights, block + ".pwconv2", channels, 4 * channels, true);
  stage.block.gamma = weights.get(block + ".gamma", {channels});
  return stage;
}

DecoderBlock load_block(WeightLoader& weights, int64_t index, int64_t in, int64_t out,
                        int64_t rate) {
  const std::string at = "code2wav.decoder." + std::to_string(index) + ".block.";
  DecoderBlock block;
  block.act = load_snake(weights, at + "0", in);
  block.upsample = load_transposed(weights, at + "1", in, out, 2 * rate, rate);
  for (size_t u = 0; u < block.units.size(); ++u) {
    const std::string unit = at + std::to_string(u + 2);
    block.units[u].act1 = load_snake(weights, unit + ".act1", out);
    block.units[u].conv1 =
        load_conv(weights, unit + ".conv1", out, out, kConvKernel, kDilations[u]);
    block.units[u].act2 = load_snake(weights, unit + ".act2", out);
    block.units[u].conv2 = load_conv(weights, unit + ".conv2", out, out, 1);
  }
  return block;
}

}  // namespace

Code2WavNetwork load_code2wav_network(WeightLoader& weights, const Code2WavConfig& config) {
  const DecoderConfig& c = config.transformer;
  Code2WavNetwork net;
  net.code_embedding = weights.get("code2wav.code_embedding.weight",
                                   {config.num_quantizers * config.codebook_size, c.hidden_size});
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    net.layers.push_back(load_layer(weights, i, c));
  }
  net.norm =
      load_norm(weights, "code2wav.pre_transformer.norm.weight", c.hidden_size, c.rms_norm_eps);
  net.rotary = RotaryTable(c.head_dim, c.rope.theta);
  for (size_t i = 0; i < config.upsampling_ratios.size(); ++i) {
    net.upsample.push_back(load_upsample(weights, static_cast<int64_t>(i), c.hidden_size,
                                         config.upsampling_ratios[i]));
  }
  const auto num_blocks = static_cast<int64_t>(config.upsample_rates.size());
  const auto decoder = [](int64_t i) { return "code2wav.decoder." + std::to_string(i); };
  net.decoder_in = load_conv(weights, decoder(0), c.hidden_size, config.decoder_dim, kConvKernel);
  for (int64_t i = 0; i < num_blocks; ++i) {
    net.blocks.push_back(load_block(weights, i + 1, config.decoder_dim >> i,
                                    config.decoder_dim >> (i + 1), config.upsample_rates[i]));
  }
  const int64_t last = config.decoder_dim >> num_blocks;
  net.act_out = load_snake(weights, decoder(num_blocks + 1), last);
  net.decoder_out = load_conv(weights, decoder(num_blocks + 2), last, 1, kConvKernel);
  return net;
}

Code2WavTails Code2WavTails::fresh(const Code2WavNetwork& net) {
  Code2WavTails tails;
  for (const UpsampleStage& stage : net.upsample) {
    tails.upsample.push_back({stage.upsample.fresh_tail(), stage.block.depthwise.fresh_tail()});
  }
  tails.decoder_in = net.decoder_in.fresh_tail();
  for (const DecoderBlock& block : net.blocks) {
    Block b{block.upsample.fresh_tail(), {}};
    for (size_t u = 0; u < b.units.size(); ++u) b.units[u] = block.units[u].conv1.fresh_tail();
    tails.blocks.push_back(std::move(b));
  }
  tails.decoder_out = net.decoder_out.fresh_tail();
  return tails;
}

}  // namespace tutti::qwen3_omni_moe
