#include "ops/sample.h"

#include <algorithm>
#include <numeric>

#include "common.h"

namespace tutti::op_check {
namespace {

int32_t run_one(OpContext& ctx, const Tensor& logits, const ops::SampleParams& params,
                float uniform) {
  const Tensor u = Tensor::from_vector<float>({uniform}, {1});
  const Tensor ids = Tensor::empty({1}, DType::kI32);
  ops::sample(ctx, logits, {&params, 1}, u, ids);
  return ids.data<int32_t>()[0];
}

// Hugging Face's warpers one after another, by sorting everything, in double.
struct Naive {
  std::vector<int32_t> order;
  std::vector<double> p;  // by rank, normalised

  Naive(const Tensor& logits, const ops::SampleParams& params) {
    const int64_t n = logits.cols();
    order.resize(n);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return at(logits, a) != at(logits, b) ? at(logits, a) > at(logits, b) : a < b;
    });
    for (int32_t id : order) {
      p.push_back(std::exp((at(logits, id) - at(logits, order[0])) / params.temperature));
    }
    if (params.top_k > 0 && params.top_k < n) {
      const double kth = at(logits, order[params.top_k - 1]);
      int64_t keep = n;
      while (at(logits, order[keep - 1]) < kth) --keep;
      p.resize(keep);
    }
    normalise();
    if (params.top_p < 1) {
      double sum = 0;
      size_t keep = 0;
      while (keep < p.size() && (keep == 0 || sum < params.top_p)) sum += p[keep++];
      p.resize(keep);
    }
    if (params.min_p > 0) {
      size_t keep = p.size();
      while (keep > 1 && p[keep - 1] < params.min_p * p[0]) --keep;
      p.resize(keep);
    }
    normalise();
  }
  void normalise() {
    const double sum = std::accumulate(p.begin(), p.end(), 0.0);
    for (double& x : p) x /= sum;
  }
};

TEST(Sample, GreedyTakesTheLargestAndTheLowerIdOnTies) {
  for (cpu::CpuIsa isa : cpu::available_isas()) {
    cpu::set_isa_for_testing(isa);
    Tensor logits = Tensor::zeros({1, 50});
    logits.data<float>()[41] = logits.data<float>()[17] = 3;
    EXPECT_EQ(run_one(one_thread().op, logits, {.temperature = 0}, 0.9f), 17);
  }
}

TEST(Sample, FollowsTheCumulativeDistributionOfTheFilteredTokens) {
  Random random;
  const ops::SampleParams cases[] = {
      {.temperature = 1},
      {.temperature = 0.7f, .top_k = 20},
      {.temperature = 1.3f, .top_p = 0.8f},
      {.temperature = 0.9f, .top_k = 50, .top_p = 0.95f},
      {.temperature = 1, .min_p = 0.1f},
      {.temperature = 0.9f, .top_k = 1},
      {.temperature = 1, .top_k = 40, .top_p = 0.6f, .min_p = 0.02f},
      {.temperature = 1, .top_p = 1e-6f},
  };
  for (int64_t n : {5, 300, 5000}) {
    const Tensor logits = random.tensor({1, n}, 2);
    for (const ops::SampleParams& params : cases) {
      const Naive naive(logits, params);
      double before = 0;
      for (size_t rank = 0; rank < naive.p.size(); ++rank) {
        // The middle of this token's share must choose it, on every instruction set.
        const double middle = before + naive.p[rank] / 2;
        before += naive.p[rank];
        if (naive.p[rank] < 1e-5 || (rank > 40 && rank % 37 != 0)) continue;
        for (cpu::CpuIsa isa : cpu::available_isas()) {
          cpu::set_isa_for_testing(isa);
          ASSERT_EQ(run_one(one_thread().op, logits, params, static_cast<float>(middle)),
                    naive.order[rank])
              << "n " << n << " top_k " << params.top_k << " top_p " << params.top_p << " rank "
              << rank;
        }
      }
      EXPECT_EQ(run_one(one_thread().op, logits, params, 0), naive.order[0]);
    }
  }
}

TEST(Sample, TiesAtTheEdgeOfTopKStay) {
  Tensor logits = Tensor::zeros({1, 40});
  logits.data<float>()[3] = 1;
  // Three equal at the second place: all of them pass top_k 2, the rest does not.
  for (int i : {9, 20, 30}) logits.data<float>()[i] = 0.5f;
  cpu::set_isa_for_testing(cpu::available_isas().back());
  EXPECT_EQ(run_one(one_thread().op, logits, {.temperature = 1, .top_k = 2}, 0.9999f), 30);
}

TEST(Sample, ExtremeTemperaturesAndMaskedLogits) {
  const float inf = std::numeric_limits<float>::infinity();
  Tensor logits = Tensor::from_vector<float>({-inf, 3, -inf, 2, 1}, {1, 5});
  for (cpu::CpuIsa isa : cpu::available_isas()) {
    cpu::set_isa_for_testing(isa);
    EXPECT_EQ(run_one(one_thread().op, logits, {.temperature = 1e-9f}, 0.9999f), 1);
    EXPECT_EQ(run_one(one_thread().op, logits, {.temperature = 1e9f}, 0.5f), 3);
    EXPECT_EQ(run_one(one_thread().op, logits, {.temperature = 1}, 0.9999999f), 4)
        << "a masked token is never chosen";
  }
  logits.data<float>()[3] = std::nanf("");
  EXPECT_LT(run_one(one_thread().op, logits, {.temperature = 1, .top_k = 2}, 0.5f), 5);
}

TEST(Sample, ARowDoesNotDependOnItsNeighbours) {
  Random random;
  const int64_t rows = 9, n = 20'000;
  const Tensor logits = random.tensor({rows, n});
  const Tensor uniform = random.uniform_tensor({rows}, 0, 1);
  std::vector<ops::SampleParams> params(rows);
  for (int64_t r = 0; r < rows; ++r) {
    params[r].top_k = static_cast<int32_t>(r % 3 * 50);
    params[r].top_p = r % 2 == 0 ? 1.0f : 0.9f;
  }
  cpu::set_isa_for_testing(cpu::available_isas().back());
  const Tensor ids = Tensor::empty({rows}, DType::kI32);
  ops::sample(three_threads().op, logits, params, uniform, ids);
  for (int64_t r = 0; r < rows; ++r) {
    EXPECT_EQ(ids.data<int32_t>()[r], run_one(one_thread().op, logits.slice(r, r + 1), params[r],
                                              uniform.data<float>()[r]));
  }
}

}  // namespace
}  // namespace tutti::op_check
