#include "ops/lora.h"

#include <array>

#include "common.h"
#include "ops/linear.h"
#include "ops/moe.h"

namespace tutti::op_check {
namespace {

LoraMatrices matrices(Random& random, int64_t rank, int64_t out, int64_t in, float scale) {
  return {random.tensor({rank, in}, 1 / std::sqrt(static_cast<float>(in)), random.weight_dtype()),
          pack_lora_b(random.tensor({out, rank}, 0.5f, random.weight_dtype())), scale, out};
}

// w + scale * b a
std::vector<double> merged(const Tensor& w, const LoraMatrices& m) {
  const int64_t n = w.dim(0), k = w.dim(1), rank = m.a.dim(0);
  std::vector<double> out(n * k);
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = 0; i < k; ++i) {
      double sum = 0;
      for (int64_t r = 0; r < rank; ++r) {
        sum += at(m.b, (j / 16 * rank + r) * 16 + j % 16) * at(m.a, r * k + i);
      }
      out[j * k + i] = at(w, j * k + i) + static_cast<double>(m.scale) * sum;
    }
  }
  return out;
}

std::vector<double> weights_of(const Tensor& w) {
  std::vector<double> out(w.num_elements());
  for (int64_t i = 0; i < w.num_elements(); ++i) out[i] = at(w, i);
  return out;
}

// Two adapters, and which of them (or none, -1) each of nine rows goes through. Map 1 of the
// second adapter is not changed by it.
struct Batch {
  static constexpr std::array<int, 9> kAdapters = {-1, 0, 0, 1, 0, -1, 1, 1, -1};

  Batch(Random& random, const std::vector<std::pair<int64_t, int64_t>>& shapes) {
    for (const auto& [out, in] : shapes) {
      adapters[0].maps.push_back(matrices(random, 5, out, in, 2.0f));
      adapters[1].maps.push_back(matrices(random, 16, out, in, 0.7f));
    }
    for (const int a : kAdapters) rows.add(a < 0 ? nullptr : &adapters[a]);
  }
  LoraRows only(size_t row) const {
    LoraRows one;
    one.add(kAdapters[row] < 0 ? nullptr : &adapters[kAdapters[row]]);
    return one;
  }
  // Weights of map `map` as row `row` sees them.
  std::vector<double> seen(const Tensor& w, size_t row, int map) const {
    const int a = kAdapters[row];
    if (a < 0 || !adapters[a].maps[map].a.defined()) return weights_of(w);
    return merged(w, adapters[a].maps[map]);
  }

  std::array<LoraAdapter, 2> adapters;
  LoraRows rows;
};

TEST(Lora, RowsBecomeRunsOfTheirAdapters) {
  const LoraAdapter a, b;
  LoraRows rows;
  rows.add(nullptr, 2);
  rows.add(&a, 3);
  rows.add(&a);
  rows.add(&b, 2);
  rows.add(nullptr);
  rows.add(&b);
  const auto expect = [](const LoraRows& found, std::vector<std::array<int64_t, 2>> runs) {
    ASSERT_EQ(found.runs().size(), runs.size());
    for (size_t i = 0; i < runs.size(); ++i) {
      EXPECT_EQ(found.runs()[i].begin, runs[i][0]);
      EXPECT_EQ(found.runs()[i].end, runs[i][1]);
    }
  };
  expect(rows, {{2, 6}, {6, 8}, {9, 10}});
  LoraRows picked;
  const std::vector<int32_t> index = {1, 3, 5, 6, 8, 9};
  picked.pick(&rows, index);
  expect(picked, {{1, 3}, {3, 4}, {5, 6}});
  EXPECT_EQ(picked.runs()[0].adapter, &a);
  EXPECT_EQ(picked.runs()[2].adapter, &b);
  picked.pick(nullptr, index);
  expect(picked, {});
}

TEST(Lora, LinearMatchesMergedWeightsRowByRow) {
  Random random;
  for (const auto activation : {ops::Activation::kNone, ops::Activation::kSilu}) {
    for (const int64_t k : {40, 512}) {
      const int64_t n = 37, count = Batch::kAdapters.size();
      const Batch batch(random, {{n, k}});
      const Tensor x = random.tensor({count, k});
      const Tensor w = random.tensor({n, k}, 1 / std::sqrt(static_cast<float>(k)));
      const Tensor bias = random.tensor({n});
      std::vector<double> expected;
      for (int64_t i = 0; i < count; ++i) {
        const std::vector<double> seen = batch.seen(w, i, 0);
        for (int64_t j = 0; j < n; ++j) {
          double sum = at(bias, j);
          for (int64_t l = 0; l < k; ++l) sum += at(x, i * k + l) * seen[j * k + l];
          expected.push_back(activation == ops::Activation::kNone ? sum
                                                                  : sum / (1 + std::exp(-sum)));
        }
      }
      const auto run = [&](OpContext& ctx, const LoraRows& lora, int64_t begin, int64_t end) {
        const LoraScope scope(ctx, lora);
        const Tensor out = Tensor::empty({end - begin, n});
        ops::linear(ctx, x.slice(begin, end), w, bias, out,
                    {.activation = activation, .lora_map = 0});
        return out;
      };
      const Tensor whole =
          check_everywhere([&](OpContext& ctx) { return run(ctx, batch.rows, 0, count); }, expected,
                           3e-5, "linear with adapters");
      const Tensor plain = run(three_threads().op, kNoLoraRows, 0, count);
      for (int64_t i = 0; i < count; ++i) {
        expect_same_bits(run(three_threads().op, batch.only(i), i, i + 1), whole.slice(i, i + 1),
                         "a row alone");
        if (Batch::kAdapters[i] < 0) {
          expect_same_bits(whole.slice(i, i + 1), plain.slice(i, i + 1), "a row of no adapter");
        } else {
          EXPECT_NE(at(whole, i * n), at(plain, i * n)) << "row " << i;
        }
      }
    }
  }
}

TEST(Lora, SeveralMapsOfOneInputAndAnInPlaceResidual) {
  Random random;
  const int64_t k = 64, count = Batch::kAdapters.size();
  Batch batch(random, {{32, k}, {48, k}});
  batch.adapters[1].maps[1] = {};
  const Tensor x = random.tensor({count, k}), residual = random.tensor({count, 48});
  const Tensor w0 = random.tensor({32, k}, 0.1f), w1 = random.tensor({48, k}, 0.1f);
  OpContext& ctx = three_threads().op;
  const LoraScope scope(ctx, batch.rows);
  const Tensor q = Tensor::empty({count, 32}), v = Tensor::empty({count, 48});
  const Tensor q_alone = Tensor::empty({count, 32}), v_alone = Tensor::empty({count, 48});
  const Tensor no_bias;  // projections refer to their tensors
  const std::array maps{ops::Projection{w0, no_bias, q, 0}, ops::Projection{w1, no_bias, v, 1}};
  ops::linear_many(ctx, x, maps);
  ops::linear(ctx, x, w0, {}, q_alone, {.lora_map = 0});
  ops::linear(ctx, x, w1, {}, v_alone, {.lora_map = 1});
  expect_same_bits(q, q_alone, "first map");
  expect_same_bits(v, v_alone, "second map");

  const Tensor sum = with_stride(residual, 6);
  ops::linear(ctx, x, w1, {}, sum, {.residual = &sum, .lora_map = 1});
  std::vector<double> expected;
  for (int64_t i = 0; i < count * 48; ++i) expected.push_back(at(v, i) + at(residual, i));
  const Tensor contiguous = Tensor::empty({count, 48});
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(contiguous.slice(i, i + 1).raw_data(), sum.slice(i, i + 1).raw_data(), 48 * 4);
  }
  expect_close(contiguous, expected, 1e-5, "in place");
}

TEST(Lora, ExpertsMatchMergedWeightsAndATokenStandsAlone) {
  Random random;
  const int64_t tokens = Batch::kAdapters.size(), d = 40, inner = 24, count = 5, top_k = 2;
  std::vector<std::pair<int64_t, int64_t>> shapes;
  std::vector<ops::Expert> experts;
  for (int64_t e = 0; e < count; ++e) {
    experts.push_back({random.tensor({inner, d}, 0.2f), random.tensor({inner, d}, 0.2f),
                       random.tensor({d, inner}, 0.2f), static_cast<int32_t>(3 * e)});
    shapes.insert(shapes.end(), {{inner, d}, {inner, d}, {d, inner}});
  }
  Batch batch(random, shapes);
  batch.adapters[1].maps[1] = {};
  const Tensor x = random.tensor({tokens, d});
  const Tensor weights = Tensor::empty({tokens, top_k});
  const Tensor ids = Tensor::empty({tokens, top_k}, DType::kI32);
  ops::moe_route(one_thread().op, random.tensor({tokens, count}), true, weights, ids);
  std::vector<double> expected(tokens * d);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t j = 0; j < top_k; ++j) {
      const int32_t e = ids.data<int32_t>()[t * top_k + j];
      const auto gate = batch.seen(experts[e].gate, t, 3 * e);
      const auto up = batch.seen(experts[e].up, t, 3 * e + 1);
      const auto down = batch.seen(experts[e].down, t, 3 * e + 2);
      for (int64_t i = 0; i < inner; ++i) {
        double g = 0, u = 0;
        for (int64_t l = 0; l < d; ++l) {
          g += gate[i * d + l] * at(x, t * d + l);
          u += up[i * d + l] * at(x, t * d + l);
        }
        const double hidden = g / (1 + std::exp(-g)) * u;
        for (int64_t o = 0; o < d; ++o) {
          expected[t * d + o] += at(weights, t * top_k + j) * down[o * inner + i] * hidden;
        }
      }
    }
  }
  const auto run = [&](OpContext& ctx, const LoraRows& lora, int64_t begin, int64_t end) {
    const LoraScope scope(ctx, lora);
    const Tensor out = Tensor::empty({end - begin, d});
    ops::moe_experts(ctx, x.slice(begin, end), weights.slice(begin, end), ids.slice(begin, end),
                     experts, out);
    return out;
  };
  const Tensor whole =
      check_everywhere([&](OpContext& ctx) { return run(ctx, batch.rows, 0, tokens); }, expected,
                       5e-5, "experts with adapters");
  const Tensor plain = run(three_threads().op, kNoLoraRows, 0, tokens);
  for (int64_t t = 0; t < tokens; ++t) {
    expect_same_bits(run(three_threads().op, batch.only(t), t, t + 1), whole.slice(t, t + 1),
                     "one token");
    if (Batch::kAdapters[t] < 0) {
      expect_same_bits(whole.slice(t, t + 1), plain.slice(t, t + 1), "a token of no adapter");
    }
  }
}

}  // namespace
}  // namespace tutti::op_check
