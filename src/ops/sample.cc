#include "ops/sample.h"

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

// The ids of a row in falling order of probability (lower id first on ties), sorted only as far as
// somebody looks.
class FallingOrder {
 public:
  FallingOrder(const float* p, int32_t* ids, int64_t n) : p_(p), ids_(ids), n_(n) {
    std::iota(ids, ids + n, 0);
  }
  int32_t id(int64_t rank) {
    while (rank >= sorted_) sort_more();
    return ids_[rank];
  }

 private:
  void sort_more() {
    const auto before = [this](int32_t a, int32_t b) {
      return p_[a] != p_[b] ? p_[a] > p_[b] : a < b;
    };
    const int64_t end = std::min(n_, std::max<int64_t>(64, 8 * sorted_));
    if (end < n_) std::nth_element(ids_ + sorted_, ids_ + end, ids_ + n_, before);
    std::sort(ids_ + sorted_, ids_ + end, before);
    sorted_ = end;
  }

  const float* p_;
  int32_t* ids_;
  int64_t n_;
  int64_t sorted_ = 0;
};

// Number of tokens, in falling order, that pass top_k: all those not below the k-th.
int64_t keep_top_k(FallingOrder& order, const float* p, int64_t n, int32_t top_k) {
  if (top_k <= 0 || top_k >= n) return n;
  const float kth = p[order.id(top_k - 1)];
  int64_t keep = top_k;
  while (keep < n && p[order.id(keep)] == kth) ++keep;
  return keep;
}

int32_t sample_row(const float* logits, int64_t n, const SampleParams& params, float uniform,
                   float* p, int32_t* ids) {
  if (params.temperature <= 0) return largest_id(logits, n);
  // Unnormalised probabilities; the largest is 1.
  const float inverse = 1.0f / params.temperature;
  const float top = cpu::kernels().max(logits, n);
  for (int64_t i = 0; i < n; ++i) p[i] = logits[i] - top;
  cpu::kernels().exp(p, inverse, 0.0f, p, n);

  FallingOrder order(p, ids, n);
  int64_t keep = keep_top_k(order, p, n, params.top_k);
  double mass = 0;
  if (keep == n) {
    for (int64_t i = 0; i < n; ++i) mass += p[i];
  } else {
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
    while (i < keep && (i == 0 || p[order.id(i)] >= params.min_p)) sum += p[order.id(i++)];
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
  const Tensor order = ctx.workspace.tensor({threads, n}, DType::kI32);
  const auto run = [&](int64_t begin, int64_t end, int thread) {
    for (int64_t t = begin; t < end; ++t) {
      ids.data<int32_t>()[t] =
          sample_row(row(logits, t), n, params[t], uniform.data<float>()[t],
                     p.data<float>() + thread * n, order.data<int32_t>() + thread * n);
    }
  };
  if (ctx.pool == nullptr || rows * n * 2 < kParallelWork) {
    run(0, rows, 0);
  } else {
    ctx.pool->parallel_for(rows, 1, run);
  }
}

}  // namespace tutti::ops
