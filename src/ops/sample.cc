#include "ops/sample.h"

#include <cmath>
#include <functional>
#include <numeric>

#include "ops/parallel.h"

namespace tutti::ops {

namespace {

int32_t largest_id(const float* logits, int64_t n) {
  const float top = cpu::kernels().max(logits, n);
  for (int64_t i = 0; i < n; ++i) {
    if (logits[i] == top) return static_cast<int32_t>(i);
  }
  return 0;  // every logit is NaN
}

// Eight sums side by side, in a fixed order, in double so that the parts of a cumulative sum agree
// with it.
double total(const float* p, int64_t n) {
  double sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int64_t j = 0; j < 8; ++j) sums[j] += p[i + j];
  }
  for (; i < n; ++i) sums[0] += p[i];
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

// The ids of a row in falling order of their logits (lower id first on ties), found only as far as
// somebody looks.
//
// The k-th largest of the blocks' maxima is a bound that at least k tokens reach, and few more do:
// those alone are gathered and sorted, so that a look at the first tokens reads each number once or
// twice.
class FallingOrder {
 public:
  // `block_max` has room for twice block_count(n) numbers, `ids` for n.
  FallingOrder(const float* logits, int64_t n, float* block_max, int32_t* ids)
      : logits_(logits), n_(n), block_max_(block_max), ids_(ids) {
    for (int64_t b = 0; b < block_count(n); ++b) {
      block_max_[b] = cpu::kernels().max(logits + b * kBlock, std::min(kBlock, n - b * kBlock));
    }
  }
  static int64_t block_count(int64_t n) { return (n + kBlock - 1) / kBlock; }

  int32_t id(int64_t rank) {
    while (rank >= sorted_) sort_more();
    return ids_[rank];
  }

 private:
  static constexpr int64_t kBlock = 64;

  void sort_more() {
    const int64_t wanted = std::max<int64_t>(64, 8 * sorted_), blocks = block_count(n_);
    if (wanted < blocks) {
      gather(bound_of(wanted));
    } else if (!gathered_all_) {
      std::iota(ids_, ids_ + n_, 0);
      gathered_all_ = true;
      sorted_ = 0;
    }
    const auto before = [this](int32_t a, int32_t b) {
      return logits_[a] != logits_[b] ? logits_[a] > logits_[b] : a < b;
    };
    const int64_t end = gathered_all_ ? std::min(n_, wanted) : gathered_;
    if (end < n_ && gathered_all_) std::nth_element(ids_ + sorted_, ids_ + end, ids_ + n_, before);
    std::sort(ids_ + sorted_, ids_ + end, before);
    sorted_ = end;
  }

  float bound_of(int64_t wanted) {
    const int64_t blocks = block_count(n_);
    float* sorted = block_max_ + blocks;
    std::copy(block_max_, block_max_ + blocks, sorted);
    std::nth_element(sorted, sorted + wanted - 1, sorted + blocks, std::greater<float>());
    return sorted[wanted - 1];
  }

  // Every id that reaches the bound, from the start again: the bound has fallen.
  void gather(float bound) {
    gathered_ = 0;
    sorted_ = 0;
    for (int64_t b = 0; b < block_count(n_); ++b) {
      if (block_max_[b] < bound) continue;
      for (int64_t i = b * kBlock; i < std::min(n_, (b + 1) * kBlock); ++i) {
        if (logits_[i] >= bound) ids_[gathered_++] = static_cast<int32_t>(i);
      }
    }
  }

  const float* logits_;
  int64_t n_;
  float* block_max_;
  int32_t* ids_;
  int64_t gathered_ = 0;
  int64_t sorted_ = 0;
  bool gathered_all_ = false;
};

// Number of tokens, in falling order, that pass top_k: all those not below the k-th.
int64_t keep_top_k(FallingOrder& order, const float* logits, int64_t n, int32_t top_k) {
  if (top_k <= 0 || top_k >= n) return n;
  const float kth = logits[order.id(top_k - 1)];
  int64_t keep = top_k;
  while (keep < n && logits[order.id(keep)] == kth) ++keep;
  return keep;
}

int32_t sample_row(const float* logits, int64_t n, const SampleParams& params, float uniform,
                   float* p, float* block_max, int32_t* ids) {
  if (params.temperature <= 0) return largest_id(logits, n);
  // Unnormalised probabilities; the largest is 1.
  const float inverse = 1.0f / params.temperature;
  const float top = cpu::kernels().max(logits, n);
  cpu::kernels().exp(logits, inverse, top, p, n);
  double mass = total(p, n);
  // A logit that is not a number leaves nothing to choose by.
  if (!std::isfinite(mass)) return largest_id(logits, n);

  FallingOrder order(logits, n, block_max, ids);
  int64_t keep = keep_top_k(order, logits, n, params.top_k);
  if (keep < n) {
    mass = 0;
    for (int64_t i = 0; i < keep; ++i) mass += p[order.id(i)];
  }
  if (params.top_p < 1.0f) {
    const double wanted = params.top_p * mass;
    double sum = 0;
    int64_t i = 0;
    while (i < keep && (i == 0 || sum < wanted)) sum += p[order.id(i++)];
    keep = i;
    mass = sum;
  }
  if (params.min_p > 0.0f) {
    double sum = 0;
    int64_t i = 0;
    while (i < keep && (i == 0 || p[order.id(i)] >= params.min_p * p[order.id(0)]))
      sum += p[order.id(i++)];
    keep = i;
    mass = sum;
  }
  const double target = uniform * mass;
  double sum = 0;
  for (int64_t i = 0; i < keep; ++i) {
    sum += p[order.id(i)];
    if (sum > target) return order.id(i);
  }
  return order.id(keep - 1);
}

}  // namespace

void sample(OpContext& ctx, const Tensor& logits, std::span<const SampleParams> params,
            const Tensor& uniform, const Tensor& ids) {
  check_cpu(ctx);
  check_f32(logits);
  check_f32(uniform);
  const int64_t rows = logits.rows(), n = logits.cols();
  TUTTI_CHECK(n > 0 && static_cast<int64_t>(params.size()) == rows &&
                  uniform.num_elements() == rows && ids.num_elements() == rows &&
                  ids.dtype() == DType::kI32,
              "one set of parameters, one number and one id per row");
  Workspace::Scope scope(ctx.workspace);
  const int threads = pool_threads(ctx);
  const Tensor p = ctx.workspace.tensor({threads, n});
  const int64_t blocks = 2 * FallingOrder::block_count(n);
  const Tensor block_max = ctx.workspace.tensor({threads, blocks});
  const Tensor order = ctx.workspace.tensor({threads, n}, DType::kI32);
  const auto run = [&](int64_t begin, int64_t end, int thread) {
    for (int64_t t = begin; t < end; ++t) {
      ids.data<int32_t>()[t] = sample_row(
          row(logits, t), n, params[t], uniform.data<float>()[t], p.data<float>() + thread * n,
          block_max.data<float>() + thread * blocks, order.data<int32_t>() + thread * n);
    }
  };
  if (ctx.pool == nullptr || rows * n * 2 < kParallelWork) {
    run(0, rows, 0);
  } else {
    ctx.pool->parallel_for(rows, 1, run);
  }
}

}  // namespace tutti::ops
