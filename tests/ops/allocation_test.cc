// A decode step in steady state allocates nothing.
#include "base/testing/counting_allocator.h"
#include "common.h"
#include "ops/attention.h"
#include "ops/conv.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/linear.h"
#include "ops/moe.h"
#include "ops/norm.h"
#include "ops/rotary.h"
#include "ops/sample.h"

namespace tutti::op_check {
namespace {

TEST(Allocations, OpsAllocateNothingInSteadyState) {
  if (!testing::counts_allocations()) GTEST_SKIP() << "a sanitizer owns the allocator";
  Random random;
  Context& context = three_threads();
  OpContext& ctx = context.op;
  const int64_t d = 256, tokens = 3, heads = 8, kv_heads = 2, head_dim = 32, inner = 128;
  const Tensor x = random.tensor({tokens, d}), y = random.tensor({tokens, d});
  const Tensor weight = random.tensor({4 * d, d}, 0.1f, DType::kBF16), none;
  const Tensor wide = Tensor::empty({tokens, 4 * d}), norm = random.tensor({d});
  const Tensor cos = random.tensor({tokens, head_dim / 2}),
               sin = random.tensor({tokens, head_dim / 2});
  const Tensor q = random.tensor({tokens, heads, head_dim}), out = Tensor::empty(q.shape());
  const Tensor k = random.tensor({tokens, kv_heads, head_dim});
  const int64_t length = 1500, blocks = (length + 15) / 16;
  const Tensor cache = random.tensor({blocks, kv_heads, 16, head_dim});
  const Tensor tables = Tensor::zeros({tokens, blocks}, DType::kI32);
  const Tensor start = Tensor::from_vector<int32_t>({0, 1, 2, 3}, {4});
  const Tensor lengths = Tensor::from_vector<int32_t>({1500, 7, 800}, {3});
  const Tensor slots = Tensor::from_vector<int32_t>({11, 6, 15}, {3});
  const ops::PagedBatch batch{start, lengths, tables, slots, 3, 1, length};
  const ops::PagedBatch one{start, lengths, tables, slots, 1, 1, length};
  std::vector<ops::Expert> experts;
  for (int e = 0; e < 8; ++e) {
    experts.push_back(
        {random.tensor({inner, d}), random.tensor({inner, d}), random.tensor({d, inner})});
  }
  const Tensor router = random.tensor({tokens, 8});
  const Tensor routed = Tensor::empty({tokens, 2}), ids = Tensor::empty({tokens, 2}, DType::kI32);
  const Tensor signal = random.tensor({66, 32}), filtered = Tensor::empty({60, 32});
  const Tensor taps = random.tensor({32, 3, 32}), beta = random.uniform_tensor({32}, 0.5f, 1);
  const ops::ConvItem item{signal, filtered};
  const Tensor logits = random.tensor({tokens, 5000}),
               uniform = random.uniform_tensor({tokens}, 0, 1);
  const Tensor chosen = Tensor::empty({tokens}, DType::kI32);
  const std::vector<ops::SampleParams> params(tokens, {.temperature = 0.8f, .top_k = 50});
  const Tensor code = random.integers({tokens, 4}, 0, 9), table = random.tensor({40, d});

  const auto step = [&] {
    Workspace::Scope scope(context.workspace);
    ops::add_rms_norm(ctx, x, y, norm, 1e-6f, x);
    const ops::Projection projections[] = {{weight, none, wide}};
    ops::linear_many(ctx, x, projections);
    ops::linear(ctx, x, weight, none, wide, {.activation = ops::Activation::kGelu});
    ops::apply_rotary(ctx, q, cos, sin);
    ops::write_kv(ctx, k, k, batch, {cache, cache});
    ops::paged_attention(ctx, q, {cache, cache}, batch, 0.2f, 0, out);
    ops::paged_attention(ctx, q.slice(0, 1), {cache, cache}, one, 0.2f, 0, out.slice(0, 1));
    ops::moe_route(ctx, router, true, routed, ids);
    ops::moe_experts(ctx, x, routed, ids, experts, y);
    ops::conv1d(ctx, {&item, 1}, taps, none, {.dilation = 3});
    ops::snake_beta(ctx, filtered, beta, beta, filtered);
    ops::embedding_sum(ctx, code, table, 10, 0.25f, x);
    ops::sample(ctx, logits, params, uniform, chosen);
  };
  step();
  step();
  const int64_t before = testing::allocation_count();
  for (int i = 0; i < 5; ++i) step();
  EXPECT_EQ(testing::allocation_count() - before, 0);
}

TEST(Allocations, TheCounterCounts) {
  if (!testing::counts_allocations()) GTEST_SKIP() << "a sanitizer owns the allocator";
  const int64_t before = testing::allocation_count();
  const Tensor t = Tensor::empty({1});
  EXPECT_GT(testing::allocation_count(), before);
}

}  // namespace
}  // namespace tutti::op_check
