#include "models/qwen3_omni_moe/audio_tower.h"

#include <algorithm>
#include <cmath>

#include "models/qwen3_omni_moe/weight_map.h"
#include "ops/conv.h"
#include "ops/elementwise.h"

namespace tutti::qwen3_omni_moe {

namespace {

constexpr int64_t kKernel = 3;
constexpr int64_t kStride = 2;
constexpr int64_t kBorder = 1;  // zeros around a signal
// Chunks that are convolved together; bounds the scratch memory of long sounds.
constexpr int64_t kChunksAtOnce = 8;
constexpr float kNormEps = 1e-5f;

int64_t halved(int64_t size) { return (size + 1) / 2; }

// PyTorch's Conv2d weight [Cout, Cin, frequency, time] as [Cout, time, frequency, Cin].
Tensor repack_conv2d(const Tensor& weight) {
  const int64_t outs = weight.dim(0), ins = weight.dim(1);
  Tensor packed = Tensor::empty({outs, kKernel, kKernel, ins});
  const float* from = weight.data<float>();
  float* to = packed.data<float>();
  for (int64_t o = 0; o < outs; ++o) {
    for (int64_t t = 0; t < kKernel; ++t) {
      for (int64_t f = 0; f < kKernel; ++f) {
        for (int64_t i = 0; i < ins; ++i) {
          *to++ = from[((o * ins + i) * kKernel + f) * kKernel + t];
        }
      }
    }
  }
  return packed;
}

// Columns (channel, frequency) of a linear map's weight as (frequency, channel).
Tensor swap_columns(const Tensor& weight, int64_t channels) {
  const int64_t outs = weight.dim(0), frequencies = weight.dim(1) / channels;
  Tensor packed = Tensor::empty(weight.shape());
  const float* from = weight.data<float>();
  float* to = packed.data<float>();
  for (int64_t o = 0; o < outs; ++o) {
    for (int64_t f = 0; f < frequencies; ++f) {
      for (int64_t c = 0; c < channels; ++c) *to++ = from[(o * channels + c) * frequencies + f];
    }
  }
  return packed;
}

// Half sines, half cosines, of geometrically spaced frequencies ("Attention Is All You Need", in
// Whisper's order).
Tensor sinusoids(int64_t length, int64_t channels) {
  const int64_t half = channels / 2;
  const auto step = static_cast<float>(std::log(10000.0) / static_cast<double>(half - 1));
  Tensor table = Tensor::empty({length, channels});
  for (int64_t t = 0; t < length; ++t) {
    for (int64_t i = 0; i < half; ++i) {
      const float angle = static_cast<float>(t) * std::exp(-step * static_cast<float>(i));
      table.data<float>()[t * channels + i] = std::sin(angle);
      table.data<float>()[t * channels + half + i] = std::cos(angle);
    }
  }
  return table;
}

}  // namespace

AudioTower AudioTower::load(WeightLoader& weights, const AudioConfig& c) {
  const std::string prefix = "thinker.audio_tower.";
  AudioTower tower;
  tower.config_ = c;
  const int64_t channels = c.downsample_hidden_size;
  for (int i = 0; i < 3; ++i) {
    const std::string name = prefix + "conv2d" + std::to_string(i + 1);
    const Tensor weight =
        weights.get_f32(name + ".weight", {channels, i == 0 ? 1 : channels, kKernel, kKernel});
    if (weight.defined()) {
      tower.convs_[i].weight = weights.finalize(name + ".weight", repack_conv2d(weight));
    }
    tower.convs_[i].bias = weights.get(name + ".bias", {channels});
  }
  const std::string out_name = prefix + "conv_out.weight";
  const int64_t frequencies = AudioConfig::downsampled(c.num_mel_bins);
  const Tensor out_weight = weights.get_f32(out_name, {c.d_model, channels * frequencies});
  if (out_weight.defined()) {
    tower.conv_out_.weight = weights.finalize(out_name, swap_columns(out_weight, channels));
  }
  tower.positions_ = sinusoids(AudioConfig::downsampled(2 * c.n_window), c.d_model);
  for (int64_t i = 0; i < c.encoder_layers; ++i) {
    const std::string at = prefix + "layers." + std::to_string(i);
    const auto square = [&](const std::string& name) {
      return load_linear(weights, at + ".self_attn." + name, c.d_model, c.d_model, true);
    };
    EncoderBlock block;
    block.attention_norm =
        load_layer_norm(weights, at + ".self_attn_layer_norm", c.d_model, kNormEps);
    block.attention = {square("q_proj"), square("k_proj"), square("v_proj"), square("out_proj"),
                       c.encoder_attention_heads};
    block.mlp_norm = load_layer_norm(weights, at + ".final_layer_norm", c.d_model, kNormEps);
    block.fc1 = load_linear(weights, at + ".fc1", c.encoder_ffn_dim, c.d_model, true);
    block.fc2 = load_linear(weights, at + ".fc2", c.d_model, c.encoder_ffn_dim, true);
    tower.layers_.push_back(std::move(block));
  }
  tower.ln_post_ = load_layer_norm(weights, prefix + "ln_post", c.d_model, kNormEps);
  tower.proj1_ = load_linear(weights, prefix + "proj1", c.d_model, c.d_model, true);
  tower.proj2_ = load_linear(weights, prefix + "proj2", c.output_dim, c.d_model, true);
  return tower;
}

// Windows of all sounds: whole ones of n_window_infer frames, then the rest of a sound.
Segments AudioTower::windows(OpContext& ctx, std::span<const Tensor> mels) const {
  const int64_t chunk = 2 * config_.n_window;
  const int64_t window = config_.n_window_infer / chunk * AudioConfig::downsampled(chunk);
  int64_t most = 1;
  for (const Tensor& mel : mels) most += config_.rows(mel.dim(1)) / window + 1;
  Segments segments{ctx.workspace.tensor({most}, DType::kI32), 0};
  int32_t* start = segments.start.data<int32_t>();
  start[0] = 0;
  for (const Tensor& mel : mels) {
    for (int64_t left = config_.rows(mel.dim(1)); left > 0; left -= window) {
      const int32_t begin = start[segments.count];
      start[++segments.count] = begin + static_cast<int32_t>(std::min(left, window));
    }
  }
  return segments;
}

// The convolutions of chunks [first, first + count) of a sound, each padded to `frames`.
// out [count, rows, d_model].
void AudioTower::embed_chunks(OpContext& ctx, const Tensor& mel, int64_t first, int64_t count,
                              int64_t frames, const Tensor& out) const {
  Workspace::Scope scratch(ctx.workspace);
  int64_t steps = frames, columns = config_.num_mel_bins;
  Tensor x = ctx.workspace.tensor({count, steps + 2 * kBorder, columns + 2 * kBorder, 1});
  ops::fill_zero(ctx, x);
  const int64_t chunk = 2 * config_.n_window;
  for (int64_t n = 0; n < count; ++n) {
    const int64_t begin = (first + n) * chunk;
    const int64_t valid = std::min(chunk, mel.dim(1) - begin);
    float* to = x.data<float>() + n * x.dim(1) * x.dim(2);
    for (int64_t t = 0; t < valid; ++t) {
      for (int64_t f = 0; f < columns; ++f) {
        to[(t + kBorder) * x.dim(2) + f + kBorder] = mel.data<float>()[f * mel.dim(1) + begin + t];
      }
    }
  }
  for (int i = 0; i < 3; ++i) {
    steps = halved(steps);
    columns = halved(columns);
    const int64_t border = i < 2 ? kBorder : 0;
    const Tensor next = ctx.workspace.tensor(
        {count, steps + 2 * border, columns + 2 * border, config_.downsample_hidden_size});
    if (border > 0) ops::fill_zero(ctx, next);
    ops::conv2d(ctx, x, convs_[i].weight, convs_[i].bias,
                {.stride = kStride, .border = border, .activation = ops::Activation::kGelu}, next);
    x = next;
  }
  const Tensor places = ctx.workspace.tensor({count * steps, config_.d_model});
  for (int64_t n = 0; n < count; ++n) {
    ops::copy(ctx, positions_.slice(0, steps), places.slice(n * steps, (n + 1) * steps));
  }
  conv_out_.forward(ctx, x.reshape({count * steps, columns * config_.downsample_hidden_size}),
                    out.reshape({count * steps, config_.d_model}), {.residual = &places});
}

void AudioTower::embed(OpContext& ctx, const Tensor& mel, const Tensor& x) const {
  const int64_t chunk = 2 * config_.n_window;
  const int64_t chunks = (mel.dim(1) + chunk - 1) / chunk;
  const int64_t frames = std::min(chunk, mel.dim(1));  // of the longest chunk
  const int64_t rows = AudioConfig::downsampled(frames);
  for (int64_t first = 0; first < chunks; first += kChunksAtOnce) {
    Workspace::Scope scratch(ctx.workspace);
    const int64_t count = std::min(kChunksAtOnce, chunks - first);
    const Tensor out = ctx.workspace.tensor({count, rows, config_.d_model});
    embed_chunks(ctx, mel, first, count, frames, out);
    const int64_t begin = first * rows;
    const int64_t end = std::min(begin + count * rows, x.dim(0));
    ops::copy(ctx, out.reshape({count * rows, config_.d_model}).slice(0, end - begin),
              x.slice(begin, end));
  }
}

void AudioTower::forward(OpContext& ctx, std::span<const Tensor> mels, const Tensor& rows,
                         const Probe& probe) const {
  Workspace::Scope scratch(ctx.workspace);
  const Tensor x = ctx.workspace.tensor({rows.dim(0), config_.d_model});
  int64_t begin = 0;
  for (const Tensor& mel : mels) {
    const int64_t end = begin + config_.rows(mel.dim(1));
    embed(ctx, mel, x.slice(begin, end));
    begin = end;
  }
  TUTTI_CHECK(begin == rows.dim(0), "rows has room for all sounds");
  const Segments segments = windows(ctx, mels);
  for (size_t i = 0; i < layers_.size(); ++i) {
    layers_[i].forward(ctx, x, nullptr, segments);
    if (probe) probe("audio.layer." + std::to_string(i), x);
  }
  ln_post_.forward(ctx, x, x);
  proj2_.forward(ctx, proj1_.forward(ctx, x, {.activation = ops::Activation::kGelu}), rows);
  if (probe) probe("audio.embeds", rows);
}

}  // namespace tutti::qwen3_omni_moe
