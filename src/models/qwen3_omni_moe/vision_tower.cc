#include "models/qwen3_omni_moe/vision_tower.h"

#include <algorithm>
#include <cmath>

#include "models/qwen3_omni_moe/weight_map.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/rotary.h"

namespace tutti::qwen3_omni_moe {

namespace {

constexpr float kNormEps = 1e-6f;
constexpr int64_t kTaps = 4;  // of a bilinear sample

// Calls visit(patch, row, column) for every patch of an item, frame after frame.
template <typename Visit>
void for_each_patch(const VisionTower::Item& item, int64_t merge, Visit visit) {
  const auto [frames, height, width] = item.grid_thw;
  int64_t patch = 0;
  for (int64_t t = 0; t < frames; ++t) {
    for (int64_t top = 0; top < height; top += merge) {
      for (int64_t left = 0; left < width; left += merge) {
        for (int64_t y = top; y < top + merge; ++y) {
          for (int64_t x = left; x < left + merge; ++x) visit(patch++, y, x);
        }
      }
    }
  }
}

// Where patch `index` of `size` lies between two entries of an axis of the learned grid; the first
// and the last patch lie on its ends.
struct Sample {
  int64_t entries[2];
  float weights[2];
};
Sample sample_axis(int64_t index, int64_t size, int64_t side) {
  const float at = static_cast<float>(index) * static_cast<float>(side - 1) /
                   static_cast<float>(std::max<int64_t>(size - 1, 1));
  const float floor = std::floor(at);
  const auto low = static_cast<int64_t>(floor);
  return {{std::min(low, side - 1), std::min(low + 1, side - 1)},
          {1 - (at - floor), 1 - std::abs(at - floor - 1)}};
}

// A block of rows [begin, end) of a linear map.
Linear part_of(const Linear& linear, int64_t begin, int64_t end) {
  if (!linear.weight.defined() || !linear.bias.defined()) return {};
  return {linear.weight.slice(begin, end), linear.bias.slice(begin, end)};
}

}  // namespace

VisionTower::Merger VisionTower::load_merger(WeightLoader& weights, const std::string& prefix,
                                             const VisionConfig& c, bool norm_after_merge) {
  const int64_t merged = c.hidden_size * c.merge_unit();
  Merger merger;
  merger.norm = load_layer_norm(weights, prefix + ".ln_q",
                                norm_after_merge ? merged : c.hidden_size, kNormEps);
  merger.norm_after_merge = norm_after_merge;
  merger.fc1 = load_linear(weights, prefix + ".mlp.0", merged, merged, true);
  merger.fc2 = load_linear(weights, prefix + ".mlp.2", c.out_hidden_size, merged, true);
  return merger;
}

VisionTower VisionTower::load(WeightLoader& weights, const VisionConfig& c) {
  const std::string prefix = "thinker.visual.";
  VisionTower tower;
  tower.config_ = c;
  const Tensor patch_weight = weights.get(
      prefix + "patch_embed.proj.weight",
      {c.hidden_size, c.in_channels, c.temporal_patch_size, c.patch_size, c.patch_size});
  if (patch_weight.defined()) {
    tower.patch_embed_.weight = patch_weight.reshape({c.hidden_size, c.patch_elements()});
  }
  tower.patch_embed_.bias = weights.get(prefix + "patch_embed.proj.bias", {c.hidden_size});
  tower.pos_embed_ =
      weights.get(prefix + "pos_embed.weight", {c.num_position_embeddings, c.hidden_size});
  const int64_t quarter = c.hidden_size / c.num_heads / 4;
  std::vector<float> inv_freq(2 * quarter);
  std::vector<int32_t> axis(2 * quarter, 0);
  for (int64_t i = 0; i < quarter; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(2 * quarter);
    inv_freq[i] = 1.0f / std::pow(static_cast<float>(c.rope_theta), exponent);
    inv_freq[quarter + i] = inv_freq[i];
    axis[quarter + i] = 1;
  }
  tower.inv_freq_ = Tensor::from_vector(inv_freq, {2 * quarter});
  tower.axis_ = Tensor::from_vector(axis, {2 * quarter});
  const int64_t width = c.hidden_size;
  for (int64_t i = 0; i < c.depth; ++i) {
    const std::string at = prefix + "blocks." + std::to_string(i);
    const Linear qkv = load_linear(weights, at + ".attn.qkv", 3 * width, width, true);
    EncoderBlock block;
    block.attention_norm = load_layer_norm(weights, at + ".norm1", width, kNormEps);
    block.attention = {part_of(qkv, 0, width), part_of(qkv, width, 2 * width),
                       part_of(qkv, 2 * width, 3 * width),
                       load_linear(weights, at + ".attn.proj", width, width, true), c.num_heads};
    block.mlp_norm = load_layer_norm(weights, at + ".norm2", width, kNormEps);
    block.fc1 = load_linear(weights, at + ".mlp.linear_fc1", c.intermediate_size, width, true);
    block.fc2 = load_linear(weights, at + ".mlp.linear_fc2", width, c.intermediate_size, true);
    block.activation = ops::Activation::kGeluTanh;
    tower.blocks_.push_back(std::move(block));
  }
  tower.merger_ = load_merger(weights, prefix + "merger", c, false);
  for (size_t j = 0; j < c.deepstack_visual_indexes.size(); ++j) {
    tower.deepstack_mergers_.push_back(
        load_merger(weights, prefix + "merger_list." + std::to_string(j), c, true));
  }
  return tower;
}

Tensor VisionTower::position_embeddings(OpContext& ctx, std::span<const Item> items,
                                        int64_t patches) const {
  const Tensor out = ctx.workspace.tensor({patches, config_.hidden_size});
  Workspace::Scope scratch(ctx.workspace);
  const Tensor ids = ctx.workspace.tensor({patches, kTaps}, DType::kI32);
  const Tensor weights = ctx.workspace.tensor({patches, kTaps});
  const auto side =
      static_cast<int64_t>(std::sqrt(static_cast<double>(config_.num_position_embeddings)));
  int32_t* id = ids.data<int32_t>();
  float* weight = weights.data<float>();
  for (const Item& item : items) {
    for_each_patch(item, config_.spatial_merge_size, [&](int64_t, int64_t y, int64_t x) {
      const Sample row = sample_axis(y, item.grid_thw[1], side);
      const Sample column = sample_axis(x, item.grid_thw[2], side);
      for (int i = 0; i < 2; ++i) {
        for (int j = 0; j < 2; ++j) {
          *id++ = static_cast<int32_t>(row.entries[i] * side + column.entries[j]);
          *weight++ = row.weights[i] * column.weights[j];
        }
      }
    });
  }
  ops::embedding_mix(ctx, ids, weights, pos_embed_, out);
  return out;
}

RotaryAngles VisionTower::angles(OpContext& ctx, std::span<const Item> items,
                                 int64_t patches) const {
  const Shape shape{patches, inv_freq_.dim(0)};
  const RotaryAngles out{ctx.workspace.tensor(shape), ctx.workspace.tensor(shape)};
  Workspace::Scope scratch(ctx.workspace);
  const Tensor positions = ctx.workspace.tensor({2, patches});
  float* rows = positions.data<float>();
  int64_t begin = 0;
  for (const Item& item : items) {
    for_each_patch(item, config_.spatial_merge_size, [&](int64_t patch, int64_t y, int64_t x) {
      rows[begin + patch] = static_cast<float>(y);
      rows[patches + begin + patch] = static_cast<float>(x);
    });
    begin += item.patches.dim(0);
  }
  ops::rotary_cos_sin(ctx, positions, inv_freq_, axis_, out.cos, out.sin);
  return out;
}

Segments VisionTower::frames(OpContext& ctx, std::span<const Item> items) const {
  int64_t count = 0;
  for (const Item& item : items) count += item.grid_thw[0];
  Segments segments{ctx.workspace.tensor({count + 1}, DType::kI32), count};
  int32_t* start = segments.start.data<int32_t>();
  *start = 0;
  for (const Item& item : items) {
    for (int64_t t = 0; t < item.grid_thw[0]; ++t, ++start) {
      start[1] = start[0] + static_cast<int32_t>(item.grid_thw[1] * item.grid_thw[2]);
    }
  }
  return segments;
}

void VisionTower::Merger::forward(OpContext& ctx, const Tensor& x, const Tensor& out) const {
  Workspace::Scope scratch(ctx.workspace);
  const Shape merged{out.dim(0), fc1.in_features()};
  const Tensor normed = norm_after_merge ? norm.forward(ctx, x.reshape(merged))
                                         : norm.forward(ctx, x).reshape(merged);
  fc2.forward(ctx, fc1.forward(ctx, normed, {.activation = ops::Activation::kGelu}), out);
}

void VisionTower::forward(OpContext& ctx, std::span<const Item> items, const Output& out,
                          const std::string& name, const Probe& probe) const {
  Workspace::Scope scratch(ctx.workspace);
  int64_t patches = 0;
  for (const Item& item : items) patches += item.patches.dim(0);
  const Tensor x = position_embeddings(ctx, items, patches);
  int64_t begin = 0;
  for (const Item& item : items) {
    const Tensor rows = x.slice(begin, begin + item.patches.dim(0));
    patch_embed_.forward(ctx, item.patches, rows, {.residual = &rows});
    begin += item.patches.dim(0);
  }
  const RotaryAngles rotary = angles(ctx, items, patches);
  const Segments segments = frames(ctx, items);
  size_t taken = 0;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    blocks_[i].forward(ctx, x, &rotary, segments);
    if (probe) probe(name + ".layer." + std::to_string(i), x);
    if (taken < deepstack_mergers_.size() &&
        config_.deepstack_visual_indexes[taken] == static_cast<int64_t>(i)) {
      deepstack_mergers_[taken].forward(ctx, x, out.deepstack[taken]);
      if (probe) probe(name + ".deepstack." + std::to_string(taken), out.deepstack[taken]);
      ++taken;
    }
  }
  merger_.forward(ctx, x, out.embeds);
  if (probe) probe(name + ".embeds", out.embeds);
}

}  // namespace tutti::qwen3_omni_moe
