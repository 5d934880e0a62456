#include "ops/moe.h"

#include <algorithm>
#include <numeric>

#include "common.h"

namespace tutti::op_check {
namespace {

struct Routed {
  Tensor weights, ids;
};

Routed route(OpContext& ctx, const Tensor& logits, int64_t top_k, bool normalize) {
  Routed r{Tensor::empty({logits.dim(0), top_k}),
           Tensor::empty({logits.dim(0), top_k}, DType::kI32)};
  ops::moe_route(ctx, logits, normalize, r.weights, r.ids);
  return r;
}

TEST(MoeRoute, TakesTheLargestInFallingOrderLowerIdFirst) {
  Random random;
  const int64_t tokens = 20, experts = 13, top_k = 4;
  Tensor logits = random.tensor({tokens, experts});
  // Ties among the chosen and at the edge.
  for (int64_t e = 0; e < experts; ++e) logits.data<float>()[e] = static_cast<float>(e % 3);
  std::vector<int32_t> ids;
  for (bool normalize : {true, false}) {
    std::vector<double> expected;
    ids.clear();
    for (int64_t t = 0; t < tokens; ++t) {
      std::vector<int32_t> order(experts);
      std::iota(order.begin(), order.end(), 0);
      std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        const double x = at(logits, t * experts + a), y = at(logits, t * experts + b);
        return x != y ? x > y : a < b;
      });
      double all = 0, chosen = 0;
      for (int64_t e = 0; e < experts; ++e) {
        const double p = std::exp(at(logits, t * experts + order[e]));
        all += p;
        if (e < top_k) chosen += p;
      }
      for (int64_t j = 0; j < top_k; ++j) {
        expected.push_back(std::exp(at(logits, t * experts + order[j])) /
                           (normalize ? chosen : all));
        ids.push_back(order[j]);
      }
    }
    check_everywhere(
        [&](OpContext& ctx) {
          const Routed r = route(ctx, logits, top_k, normalize);
          EXPECT_EQ(0, std::memcmp(r.ids.raw_data(), ids.data(), r.ids.bytes()));
          return r.weights;
        },
        expected, 1e-6, "route");
  }
}

TEST(MoeExperts, MatchesTheFormulaAndATokenStandsAlone) {
  Random random;
  const int64_t tokens = 11, d = 40, inner = 24, count = 6, top_k = 3;
  std::vector<ops::Expert> experts;
  const DType dtypes[] = {DType::kF32, DType::kBF16};
  for (int64_t e = 0; e < count; ++e) {
    experts.push_back({random.tensor({inner, d}, 0.2f, dtypes[e % 2]),
                       random.tensor({inner, d}, 0.2f, dtypes[e % 2]),
                       random.tensor({d, inner}, 0.2f, dtypes[e % 2])});
  }
  const Tensor x = random.tensor({tokens, d});
  // Expert 5 is never chosen.
  const Routed r = route(one_thread().op, random.tensor({tokens, count - 1}), top_k, true);
  std::vector<double> expected(tokens * d);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t j = 0; j < top_k; ++j) {
      const ops::Expert& e = experts[r.ids.data<int32_t>()[t * top_k + j]];
      std::vector<double> hidden(inner);
      for (int64_t i = 0; i < inner; ++i) {
        double gate = 0, up = 0;
        for (int64_t l = 0; l < d; ++l) {
          gate += at(e.gate, i * d + l) * at(x, t * d + l);
          up += at(e.up, i * d + l) * at(x, t * d + l);
        }
        hidden[i] = gate / (1 + std::exp(-gate)) * up;
      }
      for (int64_t o = 0; o < d; ++o) {
        double sum = 0;
        for (int64_t i = 0; i < inner; ++i) sum += at(e.down, o * inner + i) * hidden[i];
        expected[t * d + o] += at(r.weights, t * top_k + j) * sum;
      }
    }
  }
  const auto run = [&](OpContext& ctx, int64_t begin, int64_t end) {
    const Tensor out = Tensor::empty({end - begin, d});
    ops::moe_experts(ctx, x.slice(begin, end), r.weights.slice(begin, end), r.ids.slice(begin, end),
                     experts, out);
    return out;
  };
  const Tensor whole = check_everywhere([&](OpContext& ctx) { return run(ctx, 0, tokens); },
                                        expected, 2e-5, "experts");
  for (int64_t t = 0; t < tokens; ++t) {
    expect_same_bits(run(three_threads().op, t, t + 1), whole.slice(t, t + 1), "one token");
  }
}

}  // namespace
}  // namespace tutti::op_check
