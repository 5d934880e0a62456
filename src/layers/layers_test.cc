#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "backend/executor.h"
#include "layers/decoder_layer.h"
#include "layers/encoder_block.h"
#include "ops/elementwise.h"

namespace tutti {
namespace {

class LayersTest : public ::testing::Test {
 protected:
  Tensor random(Shape shape) {
    Tensor out = Tensor::empty(shape);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (int64_t i = 0; i < out.num_elements(); ++i) out.data<float>()[i] = uniform(rng_);
    return out;
  }
  Linear linear(int64_t out, int64_t in) { return {random({out, in}), Tensor()}; }
  GatedMlp mlp(int64_t hidden, int64_t middle) {
    return {linear(middle, hidden), linear(middle, hidden), linear(hidden, middle)};
  }

  std::mt19937 rng_{3};
  std::unique_ptr<DeviceExecutor> executor_ = DeviceExecutor::create_cpu(2);
};

TEST_F(LayersTest, MropeInterleavesTheAxes) {
  const RotaryTable rotary(16, 10000.0, std::array<int64_t, 3>{4, 2, 2});
  EXPECT_EQ(rotary.num_axes(), 3);
  // One token at positions 1, 10, 100: the angle tells the axis that a frequency takes.
  const Tensor positions = Tensor::from_vector<float>({1, 10, 100}, {3, 1});
  executor_->run({}, [&](OpContext& ctx) {
    Workspace::Scope scope(ctx.workspace);
    const RotaryAngles angles = rotary.angles(ctx, positions);
    const float at[8] = {1, 10, 100, 1, 10, 100, 1, 1};  // T H W T H W T T
    for (int i = 0; i < 8; ++i) {
      const double angle = at[i] * std::pow(10000.0, -i / 8.0);
      EXPECT_NEAR(angles.cos.data<float>()[i], std::cos(angle), 1e-5) << i;
      EXPECT_NEAR(angles.sin.data<float>()[i], std::sin(angle), 1e-5) << i;
    }
  });
}

TEST_F(LayersTest, SharedExpertIsGatedAndAdded) {
  MoeBlock moe;
  moe.router = linear(4, 6);
  moe.top_k = 2;
  for (int e = 0; e < 4; ++e) {
    const GatedMlp expert = mlp(6, 5);
    moe.experts.push_back(
        {expert.gate_proj.weight, expert.up_proj.weight, expert.down_proj.weight});
  }
  const Tensor x = random({3, 6});
  executor_->run({}, [&](OpContext& ctx) {
    Workspace::Scope scope(ctx.workspace);
    const Tensor routed = ctx.workspace.tensor({3, 6});
    moe.forward(ctx, x, routed);
    moe.shared_expert = mlp(6, 7);
    moe.shared_gate = linear(1, 6);
    const Tensor both = ctx.workspace.tensor({3, 6});
    moe.forward(ctx, x, both);
    const Tensor shared = ctx.workspace.tensor({3, 6});
    moe.shared_expert.forward(ctx, x, shared);
    for (int64_t t = 0; t < 3; ++t) {
      double gate = 0;
      for (int64_t i = 0; i < 6; ++i) {
        gate += x.data<float>()[t * 6 + i] * moe.shared_gate.weight.data<float>()[i];
      }
      for (int64_t i = 0; i < 6; ++i) {
        const double expected = routed.data<float>()[t * 6 + i] +
                                shared.data<float>()[t * 6 + i] / (1 + std::exp(-gate));
        EXPECT_NEAR(both.data<float>()[t * 6 + i], expected, 1e-5);
      }
    }
  });
}

TEST_F(LayersTest, ResizeMlpAppliesItsActivationBetween) {
  const ResizeMlp resize{linear(4, 3), linear(2, 4)};
  const Tensor x = random({5, 3});
  executor_->run({}, [&](OpContext& ctx) {
    Workspace::Scope scope(ctx.workspace);
    const Tensor out = resize.forward(ctx, x);
    const Tensor middle = resize.fc1.forward(ctx, x);
    ops::activate(ctx, ops::Activation::kSilu, middle, middle);
    const Tensor expected = resize.fc2.forward(ctx, middle);
    for (int64_t i = 0; i < 10; ++i) {
      EXPECT_NEAR(out.data<float>()[i], expected.data<float>()[i], 1e-6);
    }
  });
}

// Prompt in one step or token by token, alone or beside another sequence: the same rows.
TEST_F(LayersTest, DecoderLayerDoesNotDependOnTheCut) {
  const int64_t hidden = 10, heads = 4, kv_heads = 2, dim = 6, rows = 7;
  DecoderLayer layer;
  layer.input_norm = {random({hidden})};
  layer.post_attention_norm = {random({hidden})};
  layer.attention = {linear(heads * dim, hidden),
                     linear(kv_heads * dim, hidden),
                     linear(kv_heads * dim, hidden),
                     linear(hidden, heads * dim),
                     {random({dim})},
                     {random({dim})},
                     heads,
                     kv_heads,
                     dim};
  layer.mlp = mlp(hidden, 9);
  const RotaryTable rotary(dim, 1e4);
  const Tensor input = random({rows, hidden});
  const auto run = [&](int64_t chunk) {
    std::vector<float> all;
    const Tensor k = Tensor::zeros({2, kv_heads, 4, dim}), v = Tensor::zeros({2, kv_heads, 4, dim});
    executor_->run({}, [&](OpContext& ctx) {
      for (int64_t at = 0; at < rows; at += chunk) {
        Workspace::Scope scope(ctx.workspace);
        const int64_t n = std::min(chunk, rows - at);
        std::vector<float> positions;
        std::vector<int32_t> slots;
        for (int64_t p = at; p < at + n; ++p) {
          positions.push_back(static_cast<float>(p));
          slots.push_back(static_cast<int32_t>(p));
        }
        const Tensor start = Tensor::from_vector<int32_t>({0, static_cast<int32_t>(n)}, {2});
        const Tensor length = Tensor::from_vector<int32_t>({static_cast<int32_t>(at + n)}, {1});
        const Tensor table = Tensor::from_vector<int32_t>({0, 1}, {1, 2});
        const Tensor slot_rows = Tensor::from_vector(slots, {n});
        const ops::PagedBatch batch{start, length, table, slot_rows, 1, n, at + n};
        const Tensor x = input.slice(at, at + n).clone();
        layer.forward(ctx, x, rotary.angles(ctx, Tensor::from_vector(positions, {1, n})), batch,
                      {k, v});
        all.insert(all.end(), x.data<float>(), x.data<float>() + x.num_elements());
      }
    });
    return all;
  };
  const std::vector<float> whole = run(rows);
  for (int64_t chunk : {1, 2, 5}) EXPECT_EQ(run(chunk), whole) << chunk;
}

// Segments attend to themselves alone: packed or apart, the same rows.
TEST_F(LayersTest, EncoderBlockKeepsSegmentsApart) {
  const int64_t width = 24, heads = 3, rows = 9;
  const auto biased = [&](int64_t out, int64_t in) {
    return Linear{random({out, in}), random({out})};
  };
  EncoderBlock block;
  block.attention_norm = {random({width}), random({width})};
  block.attention = {biased(width, width), biased(width, width), biased(width, width),
                     biased(width, width), heads};
  block.mlp_norm = {random({width}), random({width})};
  block.fc1 = biased(20, width);
  block.fc2 = biased(width, 20);
  const RotaryTable rotary(width / heads, 1e4);
  const Tensor input = random({rows, width});
  const auto run = [&](const Tensor& from, std::vector<int32_t> starts, bool rotates) {
    Tensor x = from.clone();
    executor_->run({}, [&](OpContext& ctx) {
      Workspace::Scope scope(ctx.workspace);
      std::vector<float> positions(static_cast<size_t>(x.rows()), 2.0f);
      const RotaryAngles angles = rotary.angles(ctx, Tensor::from_vector(positions, {1, x.rows()}));
      const auto count = static_cast<int64_t>(starts.size()) - 1;
      const Segments segments{Tensor::from_vector(starts, {count + 1}), count};
      block.forward(ctx, x, rotates ? &angles : nullptr, segments);
    });
    return std::vector<float>(x.data<float>(), x.data<float>() + x.num_elements());
  };
  const std::vector<float> packed = run(input, {0, 4, 9}, false);
  std::vector<float> apart = run(input.slice(0, 4), {0, 4}, false);
  const std::vector<float> second = run(input.slice(4, 9), {0, 5}, false);
  apart.insert(apart.end(), second.begin(), second.end());
  EXPECT_EQ(packed, apart);
  EXPECT_NE(packed, run(input, {0, 9}, false));
  // Equal positions turn queries and keys alike, which leaves their products as they are.
  const std::vector<float> turned = run(input, {0, 4, 9}, true);
  for (size_t i = 0; i < packed.size(); ++i) EXPECT_NEAR(turned[i], packed[i], 1e-3);
}

}  // namespace
}  // namespace tutti
