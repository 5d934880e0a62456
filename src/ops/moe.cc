#include "ops/moe.h"

#include <cstring>
#include <limits>

#include "ops/elementwise.h"
#include "ops/linear_tasks.h"
#include "ops/lora_parts.h"
#include "ops/parallel.h"

namespace tutti::ops {

namespace {

// The largest `top_k` of `values` in falling order, lower index first on ties.
void largest(const float* values, int64_t n, int64_t top_k, float* out, int32_t* ids) {
  for (int64_t j = 0; j < top_k; ++j) {
    int64_t best = -1;
    for (int64_t i = 0; i < n; ++i) {
      // Those already taken come before (out[j - 1], ids[j - 1]) in the order.
      if (j > 0 && (values[i] > out[j - 1] || (values[i] == out[j - 1] && i <= ids[j - 1]))) {
        continue;
      }
      if (best < 0 || values[i] > values[best]) best = i;
    }
    TUTTI_CHECK(best >= 0, "expert logits must be numbers");
    out[j] = values[best];
    ids[j] = static_cast<int32_t>(best);
  }
}

// Pairs (token, expert) in the order of experts, then tokens: pair p belongs to token[p].
struct Groups {
  const int32_t* start;  // [E + 1] first pair of each expert
  const int32_t* token;  // [pairs]
  const float* weight;   // [pairs]
  const int32_t* pair;   // [T, top_k] a token's pairs in the order of experts
};

Groups group_pairs(OpContext& ctx, const Tensor& weights, const Tensor& ids, int64_t experts) {
  const int64_t tokens = ids.dim(0), top_k = ids.dim(1);
  const Tensor start = ctx.workspace.tensor({experts + 1}, DType::kI32);
  const Tensor token = ctx.workspace.tensor({tokens * top_k}, DType::kI32);
  const Tensor weight = ctx.workspace.tensor({tokens * top_k});
  const Tensor pair = ctx.workspace.tensor({tokens * top_k}, DType::kI32);
  const Tensor filled = ctx.workspace.tensor({tokens + experts}, DType::kI32);
  int32_t* first = start.data<int32_t>();
  int32_t* of_token = filled.data<int32_t>();
  int32_t* next = of_token + tokens;
  std::memset(first, 0, start.bytes());
  std::memset(of_token, 0, filled.bytes());
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t j = 0; j < top_k; ++j) {
      const int32_t e = ids.data<int32_t>()[t * ids.row_stride() + j];
      TUTTI_CHECK(e >= 0 && e < experts, "an expert id is out of range");
      ++first[e + 1];
    }
  }
  for (int64_t e = 0; e < experts; ++e) {
    first[e + 1] += first[e];
    next[e] = first[e];
  }
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t j = 0; j < top_k; ++j) {
      const int32_t p = next[ids.data<int32_t>()[t * ids.row_stride() + j]]++;
      token.data<int32_t>()[p] = static_cast<int32_t>(t);
      weight.data<float>()[p] = row(weights, t)[j];
    }
  }
  // Pairs stand in the order of experts, so walking them gives each token its experts in order.
  for (int64_t p = 0; p < tokens * top_k; ++p) {
    const int32_t t = token.data<int32_t>()[p];
    pair.data<int32_t>()[t * top_k + of_token[t]++] = static_cast<int32_t>(p);
  }
  return {first, token.data<int32_t>(), weight.data<float>(), pair.data<int32_t>()};
}

LinearTask expert_task(const Tensor& weight, const float* x, float* out, int64_t rows) {
  TUTTI_CHECK(weight.rank() == 2 && is_weight_dtype(weight.dtype()),
              "an expert's weight is a matrix, F32 or BF16");
  LinearTask task{{}, rows, weight.dim(0)};
  task.args.x = x;
  task.args.x_stride = weight.dim(1);
  task.args.w = weight.raw_data();
  task.args.w_is_bf16 = weight.dtype() == DType::kBF16;
  task.args.w_stride = weight.row_stride();
  task.args.segment_length = weight.dim(1);
  task.args.out = out;
  task.args.out_stride = weight.dim(0);
  return task;
}

// Calls visit(adapter, begin, end) for the pairs [begin, end) among [first, last) that go through
// an adapter. Tokens rise among them, as rows do among the runs.
template <typename Visit>
void for_adapters(const LoraRows& rows, const int32_t* token, int64_t first, int64_t last,
                  const Visit& visit) {
  int64_t p = first;
  for (const LoraRun& run : rows.runs()) {
    while (p < last && token[p] < run.begin) ++p;
    const int64_t begin = p;
    while (p < last && token[p] < run.end) ++p;
    if (p > begin) visit(*run.adapter, begin, p);
  }
}

}  // namespace

void moe_route(OpContext& ctx, const Tensor& logits, bool normalize, const Tensor& weights,
               const Tensor& ids) {
  check_cpu(ctx);
  check_f32(logits);
  check_f32(weights);
  check_same(weights, ids);
  TUTTI_CHECK(ids.dtype() == DType::kI32 && ids.rows() == logits.rows(), "ids are [T, top_k] I32");
  const int64_t experts = logits.cols(), top_k = ids.cols();
  TUTTI_CHECK(top_k <= experts, "top_k is at most the number of experts");
  for_rows(ctx, logits.rows(), experts * (top_k + 4), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* x = row(logits, t);
      float* w = row(weights, t);
      int32_t* id = ids.data<int32_t>() + t * ids.row_stride();
      largest(x, experts, top_k, w, id);
      const float top = w[0];
      float sum = 0;
      for (int64_t i = 0; i < experts; ++i) {
        float e = 0;
        cpu::kernels().exp(x + i, 1.0f, top, &e, 1);
        sum += e;
      }
      cpu::kernels().exp(w, 1.0f, top, w, top_k);
      if (normalize) {
        sum = 0;
        for (int64_t j = 0; j < top_k; ++j) sum += w[j];
      }
      for (int64_t j = 0; j < top_k; ++j) w[j] /= sum;
    }
  });
}

void moe_experts(OpContext& ctx, const Tensor& x, const Tensor& weights, const Tensor& ids,
                 std::span<const Expert> experts, const Tensor& out) {
  check_cpu(ctx);
  check_f32(x);
  check_f32(out);
  check_same(x, out);
  check_same(weights, ids);
  TUTTI_CHECK(
      !experts.empty() && ids.dtype() == DType::kI32 && ids.rank() == 2 && ids.dim(0) == x.rows(),
      "ids are [T, top_k] I32");
  const int64_t tokens = x.rows(), size = x.cols(), inner = experts[0].gate.dim(0);
  const int64_t top_k = ids.dim(1), pairs = tokens * top_k;
  const auto count = static_cast<int64_t>(experts.size());
  Workspace::Scope scope(ctx.workspace);
  const Groups groups = group_pairs(ctx, weights, ids, count);
  const Tensor inputs = ctx.workspace.tensor({pairs, size});
  const Tensor gate = ctx.workspace.tensor({pairs, inner});
  const Tensor up = ctx.workspace.tensor({pairs, inner});
  const Tensor results = ctx.workspace.tensor({pairs, size});
  const size_t row_bytes = static_cast<size_t>(size) * sizeof(float);
  for (int64_t p = 0; p < pairs; ++p) {
    std::memcpy(row(inputs, p), row(x, groups.token[p]), row_bytes);
  }
  const auto for_experts = [&](const auto& visit) {
    for (int64_t e = 0; e < count; ++e) {
      const int64_t first = groups.start[e], rows = groups.start[e + 1] - first;
      if (rows > 0) visit(experts[e], first, rows);
    }
  };
  // Parts have at least one pair each, and an expert has at most one of each run.
  const bool adapts = may_adapt(ctx, experts[0].lora_map);
  const auto runs = adapts ? static_cast<int64_t>(ctx.lora->runs().size()) : 0;
  const int64_t most_parts = std::min(pairs, count * runs);
  LoraParts up_lora(ctx, 2 * most_parts), down_lora(ctx, most_parts);
  const auto for_parts = [&](const auto& visit) {
    if (!adapts) return;
    for_experts([&](const Expert& expert, int64_t first, int64_t rows) {
      for_adapters(*ctx.lora, groups.token, first, first + rows,
                   [&](const LoraAdapter& adapter, int64_t begin, int64_t end) {
                     visit(expert, adapter, begin, end - begin);
                   });
    });
  };
  {
    TaskList tasks(ctx);
    for_experts([&](const Expert& expert, int64_t first, int64_t rows) {
      tasks.add(expert_task(expert.gate, row(inputs, first), row(gate, first), rows));
      tasks.add(expert_task(expert.up, row(inputs, first), row(up, first), rows));
    });
    for_parts([&](const Expert& expert, const LoraAdapter& adapter, int64_t first, int64_t rows) {
      const float* in = row(inputs, first);
      up_lora.add(adapter, expert.lora_map, in, size, row(gate, first), inner, rows);
      up_lora.add(adapter, expert.lora_map + 1, in, size, row(up, first), inner, rows);
    });
    up_lora.add_down(tasks);
  }
  up_lora.run_up();
  silu_mul(ctx, gate, up, gate);
  {
    TaskList tasks(ctx);
    for_experts([&](const Expert& expert, int64_t first, int64_t rows) {
      tasks.add(expert_task(expert.down, row(gate, first), row(results, first), rows));
    });
    for_parts([&](const Expert& expert, const LoraAdapter& adapter, int64_t first, int64_t rows) {
      down_lora.add(adapter, expert.lora_map + 2, row(gate, first), inner, row(results, first),
                    size, rows);
    });
    down_lora.add_down(tasks);
  }
  down_lora.run_up();
  for_rows(ctx, tokens, top_k * size, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      std::memset(row(out, t), 0, row_bytes);
      for (int64_t j = 0; j < top_k; ++j) {
        const int32_t p = groups.pair[t * top_k + j];
        cpu::kernels().axpy(groups.weight[p], row(results, p), row(out, t), size);
      }
    }
  });
}

}  // namespace tutti::ops
