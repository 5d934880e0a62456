#include "bench.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <optional>
#include <vector>

#include "common.h"
#include "machine.h"
#include "ops/attention.h"
#include "ops/conv.h"
#include "ops/elementwise.h"
#include "ops/linear.h"
#include "ops/moe.h"
#include "ops/norm.h"
#include "ops/sample.h"

namespace tutti::op_check {

namespace {

// Weights of one shape, enough copies to overflow the caches, taken in turn.
class Weights {
 public:
  Weights(Random& random, Shape shape, DType dtype) {
    const Tensor first = random.tensor(shape, 0.05f, dtype);
    constexpr size_t kEnough = 160u << 20;
    copies_.push_back(first);
    while (copies_.size() * first.bytes() < kEnough) copies_.push_back(first.clone());
  }
  const Tensor& next() { return copies_[next_++ % copies_.size()]; }

 private:
  std::vector<Tensor> copies_;
  size_t next_ = 0;
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

class Bench {
 public:
  explicit Bench(std::string filter)
      : filter_(std::move(filter)), context_(0), machine_(context_.pool) {
    std::printf(
        "isa %s, %d threads; medians; %%copy and %%peak against a copy and a multiply-add "
        "loop measured right beside each run\n",
        cpu::kernels().name, context_.pool.num_threads());
    std::printf("%-44s %10s %10s %8s %6s %9s %6s   %s\n", "op", "us", "best us", "GB/s", "%copy",
                "GFLOP/s", "%peak", "copy GB/s, peak GFLOP/s");
  }

  OpContext& ctx() { return context_.op; }
  // Whether any case whose name begins with `group` can pass the filter.
  bool wants_group(const std::string& group) const {
    return group.starts_with(filter_) || filter_.starts_with(group);
  }
  bool wants(const std::string& name) const { return name.starts_with(filter_); }

  void report(const std::string& name, double bytes, double flops,
              const std::function<void()>& op) {
    if (!wants(name)) return;
    using Clock = std::chrono::steady_clock;
    op();
    std::vector<double> seconds, of_copy, of_peak, copies, peaks;
    const auto end = Clock::now() + std::chrono::milliseconds(400);
    while (seconds.size() < 5 || Clock::now() < end) {
      copies.push_back(machine_.copy_gb_s());
      peaks.push_back(machine_.gflops());
      const auto begin = Clock::now();
      op();
      const double t = std::chrono::duration<double>(Clock::now() - begin).count();
      seconds.push_back(t);
      of_copy.push_back(bytes / t / 1e9 / copies.back());
      of_peak.push_back(flops / t / 1e9 / peaks.back());
    }
    const double t = median(seconds);
    const double best = *std::min_element(seconds.begin(), seconds.end());
    std::printf("%-44s %10.1f %10.1f %8.1f %6.0f %9.1f %6.0f   %.0f, %.0f\n", name.c_str(), t * 1e6,
                best * 1e6, bytes / t / 1e9, 100 * median(of_copy), flops / t / 1e9,
                100 * median(of_peak), median(copies), median(peaks));
  }

 private:
  std::string filter_;
  Context context_;
  Machine machine_;
};

std::string label(const char* op, int64_t m, int64_t k, int64_t n, DType dtype) {
  return std::string(op) + " " + std::to_string(m) + "x" + std::to_string(k) + "x" +
         std::to_string(n) + " " + std::string(dtype_name(dtype));
}

void bench_linear(Bench& bench, Random& random) {
  const std::pair<int64_t, int64_t> shapes[] = {{1024, 3072}, {3072, 1024}, {2048, 1024}};
  for (DType dtype : {DType::kBF16, DType::kF32}) {
    for (auto [k, n] : shapes) {
      std::optional<Weights> weights;
      for (int64_t m : {1, 2, 4, 8, 32, 128, 512}) {
        if (!bench.wants(label("linear", m, k, n, dtype))) continue;
        if (!weights) weights.emplace(random, Shape{n, k}, dtype);
        const Tensor x = random.tensor({m, k}), out = Tensor::empty({m, n});
        bench.report(label("linear", m, k, n, dtype),
                     static_cast<double>(n * k * dtype_bytes(dtype) + 4 * m * (k + n)),
                     2.0 * m * n * k,
                     [&] { ops::linear(bench.ctx(), x, weights->next(), {}, out); });
      }
    }
  }
}

// The linear maps of one decoder layer of the 0.6B shapes, as a layer calls them.
struct DecoderLayer {
  Tensor q, k, v, o, gate, up, down;
  DecoderLayer(Random& random, DType dtype)
      : q(random.tensor({2048, 1024}, 0.02f, dtype)),
        k(random.tensor({1024, 1024}, 0.02f, dtype)),
        v(random.tensor({1024, 1024}, 0.02f, dtype)),
        o(random.tensor({1024, 2048}, 0.02f, dtype)),
        gate(random.tensor({3072, 1024}, 0.02f, dtype)),
        up(random.tensor({3072, 1024}, 0.02f, dtype)),
        down(random.tensor({1024, 3072}, 0.02f, dtype)) {}
  int64_t parameters() const {
    int64_t n = 0;
    for (const Tensor* t : {&q, &k, &v, &o, &gate, &up, &down}) n += t->num_elements();
    return n;
  }
};

void run_layer(OpContext& ctx, const DecoderLayer& w, const Tensor& x, const Tensor& wide,
               const Tensor& hidden) {
  const Tensor none, q = wide.columns(0, 2048), k = wide.columns(2048, 3072),
                     v = wide.columns(3072, 4096), gate = hidden.columns(0, 3072),
                     up = hidden.columns(3072, 6144);
  const ops::Projection qkv[] = {{w.q, none, q}, {w.k, none, k}, {w.v, none, v}};
  ops::linear_many(ctx, x, qkv);
  ops::linear(ctx, q, w.o, none, x, {.residual = &x});
  const ops::Projection gated[] = {{w.gate, none, gate}, {w.up, none, up}};
  ops::linear_many(ctx, x, gated);
  ops::silu_mul(ctx, gate, up, gate);
  ops::linear(ctx, gate, w.down, none, x, {.residual = &x});
}

void bench_decoder(Bench& bench, Random& random) {
  if (!bench.wants_group("decoder")) return;
  const int64_t layers = 10;
  std::vector<DecoderLayer> stack;
  const DecoderLayer first(random, DType::kBF16);
  for (int64_t i = 0; i < layers; ++i) {
    DecoderLayer copy = first;
    for (Tensor* t : {&copy.q, &copy.k, &copy.v, &copy.o, &copy.gate, &copy.up, &copy.down}) {
      *t = t->clone();
    }
    stack.push_back(copy);
  }
  for (int64_t m : {1, 2, 4, 8, 16, 64, 512}) {
    const Tensor x = random.tensor({m, 1024}, 0.01f), wide = Tensor::empty({m, 4096});
    const Tensor hidden = Tensor::empty({m, 6144});
    const auto parameters = static_cast<double>(layers * first.parameters());
    bench.report("decoder, 10 layers, rows " + std::to_string(m), 2 * parameters,
                 2 * parameters * static_cast<double>(m), [&] {
                   for (const DecoderLayer& w : stack) {
                     run_layer(bench.ctx(), w, x, wide, hidden);
                     ops::clamp(bench.ctx(), x, -1, 1, x);
                   }
                 });
  }
}

void bench_conv(Bench& bench, Random& random) {
  if (!bench.wants_group("conv1d")) return;
  struct Layer {
    int64_t cin, cout, taps, dilation, steps;
  };
  const Layer layers[] = {{1024, 1536, 7, 1, 64},  {768, 768, 7, 1, 512},  {768, 768, 7, 9, 512},
                          {192, 192, 7, 3, 4096},  {96, 96, 7, 9, 16384},  {96, 96, 1, 1, 16384},
                          {1536, 6144, 2, 1, 128}, {192, 288, 2, 1, 8192}, {96, 1, 7, 1, 24000}};
  for (const Layer& c : layers) {
    const int64_t rows = c.steps + (c.taps - 1) * c.dilation;
    const Tensor x = random.tensor({rows, c.cin}), out = Tensor::empty({c.steps, c.cout});
    const Tensor w = random.tensor({c.cout, c.taps, c.cin}, 0.02f), bias = random.tensor({c.cout});
    const ops::ConvItem item{x, out};
    ops::Conv1dOptions options;
    options.dilation = c.dilation;
    bench.report("conv1d " + std::to_string(c.steps) + " x " + std::to_string(c.cin) + " -> " +
                     std::to_string(c.cout) + " k" + std::to_string(c.taps) + " d" +
                     std::to_string(c.dilation),
                 4.0 * static_cast<double>(rows * c.cin + c.steps * c.cout + w.num_elements()),
                 2.0 * static_cast<double>(c.steps * w.num_elements()),
                 [&] { ops::conv1d(bench.ctx(), {&item, 1}, w, bias, options); });
  }
}

void bench_depthwise(Bench& bench, Random& random) {
  if (!bench.wants_group("depthwise_conv1d")) return;
  const Tensor x = random.tensor({2054, 1024}), out = Tensor::empty({2048, 1024});
  const Tensor w = random.tensor({7, 1024}), bias = random.tensor({1024});
  const ops::ConvItem item{x, out};
  bench.report("depthwise_conv1d 2048 x 1024 k7", 4.0 * 2 * 2048 * 1024, 2.0 * 7 * 2048 * 1024,
               [&] { ops::depthwise_conv1d(bench.ctx(), {&item, 1}, w, bias); });
}

void bench_attention(Bench& bench, Random& random) {
  if (!bench.wants_group("attention")) return;
  const int64_t heads = 16, kv_heads = 8, d = 128, block_size = 16;
  struct Batch {
    int64_t sequences, queries, keys;
  };
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Batch& b :
         {Batch{1, 1, 512}, {1, 1, 4096}, {8, 1, 1024}, {1, 512, 512}, {1, 256, 4096}}) {
      const int64_t blocks = (b.keys + block_size - 1) / block_size;
      const Shape shape{b.sequences * blocks, kv_heads, block_size, d};
      const Tensor k = random.tensor(shape, 1, dtype), v = random.tensor(shape, 1, dtype);
      std::vector<int32_t> table, start, lengths;
      for (int64_t i = 0; i < b.sequences * blocks; ++i) table.push_back(static_cast<int32_t>(i));
      for (int64_t i = 0; i <= b.sequences; ++i) {
        start.push_back(static_cast<int32_t>(i * b.queries));
        lengths.push_back(static_cast<int32_t>(b.keys));
      }
      const Tensor tables = Tensor::from_vector(table, {b.sequences, blocks});
      const Tensor starts = Tensor::from_vector(start, {b.sequences + 1});
      const Tensor t_lengths = Tensor::from_vector(lengths, {b.sequences + 1});
      const Tensor slots = Tensor::zeros({b.sequences * b.queries}, DType::kI32);
      const ops::PagedBatch batch{starts, t_lengths, tables, slots, b.sequences, b.queries, b.keys};
      const Tensor q = random.tensor({b.sequences * b.queries, heads, d});
      const Tensor out = Tensor::empty(q.shape());
      const double seen = static_cast<double>(b.queries) *
                          (static_cast<double>(b.keys) - static_cast<double>(b.queries - 1) / 2);
      bench.report("attention " + std::to_string(b.sequences) + " x " + std::to_string(b.queries) +
                       " of " + std::to_string(b.keys) + " " + std::string(dtype_name(dtype)),
                   static_cast<double>(2 * b.sequences * b.keys * kv_heads * d) *
                       static_cast<double>(dtype_bytes(dtype)),
                   4.0 * seen * static_cast<double>(b.sequences * heads * d),
                   [&] { ops::paged_attention(bench.ctx(), q, {k, v}, batch, 0.088f, 0, out); });
    }
  }
}

void bench_moe(Bench& bench, Random& random) {
  const int64_t d = 1024, inner = 384, count = 64, top_k = 6;
  if (!bench.wants_group("moe_experts")) return;
  const ops::Expert first{random.tensor({inner, d}, 0.02f, DType::kBF16),
                          random.tensor({inner, d}, 0.02f, DType::kBF16),
                          random.tensor({d, inner}, 0.02f, DType::kBF16)};
  std::vector<ops::Expert> experts;
  for (int64_t e = 0; e < count; ++e) {
    experts.push_back({first.gate.clone(), first.up.clone(), first.down.clone()});
  }
  for (int64_t tokens : {1, 4, 64, 512}) {
    const Tensor x = random.tensor({tokens, d}), out = Tensor::empty({tokens, d});
    // Ten routings in turn, so that one token does not find its experts in the cache.
    std::vector<Tensor> weights, ids;
    double chosen = 0;
    for (int i = 0; i < 10; ++i) {
      weights.push_back(Tensor::empty({tokens, top_k}));
      ids.push_back(Tensor::empty({tokens, top_k}, DType::kI32));
      ops::moe_route(bench.ctx(), random.tensor({tokens, count}), true, weights[i], ids[i]);
      std::vector<bool> used(count);
      for (int64_t j = 0; j < tokens * top_k; ++j) used[ids[i].data<int32_t>()[j]] = true;
      chosen += static_cast<double>(std::count(used.begin(), used.end(), true)) / 10;
    }
    size_t turn = 0;
    bench.report("moe_experts " + std::to_string(tokens) + " tokens, 6 of 64 BF16",
                 chosen * 3 * 2 * inner * d, 2.0 * 3 * inner * d * top_k * tokens, [&] {
                   const size_t i = turn++ % 10;
                   ops::moe_experts(bench.ctx(), x, weights[i], ids[i], experts, out);
                 });
  }
}

void bench_rows(Bench& bench, Random& random) {
  const Tensor one = random.tensor({1, 1024}), many = random.tensor({2048, 1024});
  const Tensor one_out = Tensor::empty({1, 1024}), many_out = Tensor::empty({2048, 1024});
  const Tensor w = random.tensor({1024}), b = random.tensor({1024});
  const double moved = 8.0 * 2048 * 1024, elements = 2048.0 * 1024;
  OpContext& ctx = bench.ctx();
  bench.report("rms_norm 1 x 1024", 8 * 1024, 3 * 1024,
               [&] { ops::rms_norm(ctx, one, w, 1e-6f, one_out); });
  bench.report("rms_norm 2048 x 1024", moved, 3 * elements,
               [&] { ops::rms_norm(ctx, many, w, 1e-6f, many_out); });
  bench.report("layer_norm 2048 x 1024", moved, 6 * elements,
               [&] { ops::layer_norm(ctx, many, w, b, 1e-5f, many_out); });
  bench.report("add 2048 x 1024", 1.5 * moved, elements,
               [&] { ops::add(ctx, many, many, many_out); });
  bench.report("silu_mul 2048 x 1024", 1.5 * moved, 20 * elements,
               [&] { ops::silu_mul(ctx, many, many, many_out); });
  bench.report("gelu 2048 x 1024", moved, 30 * elements,
               [&] { ops::activate(ctx, ops::Activation::kGelu, many, many_out); });
  const Tensor beta = random.uniform_tensor({1024}, 0.5f, 1);
  bench.report("snake_beta 2048 x 1024", moved, 18 * elements,
               [&] { ops::snake_beta(ctx, many, w, beta, many_out); });
}

void bench_sample(Bench& bench, Random& random) {
  if (!bench.wants_group("sample")) return;
  OpContext& ctx = bench.ctx();
  const Tensor logits = random.tensor({1, 151936}, 3), u = random.uniform_tensor({1}, 0, 1);
  const Tensor id = Tensor::empty({1}, DType::kI32);
  const ops::SampleParams greedy{.temperature = 0};
  const ops::SampleParams top_k{.temperature = 0.9f, .top_k = 50, .top_p = 0.9f};
  const ops::SampleParams top_p{.temperature = 0.9f, .top_p = 0.9f};
  bench.report("sample greedy, 151936", 4.0 * 151936, 0,
               [&] { ops::sample(ctx, logits, {&greedy, 1}, u, id); });
  bench.report("sample top_k 50 top_p 0.9, 151936", 4.0 * 151936, 0,
               [&] { ops::sample(ctx, logits, {&top_k, 1}, u, id); });
  bench.report("sample top_p 0.9, 151936", 4.0 * 151936, 0,
               [&] { ops::sample(ctx, logits, {&top_p, 1}, u, id); });
}

}  // namespace

int run_benchmarks(const std::string& filter) {
  Bench bench(filter);
  Random random;
  bench_decoder(bench, random);
  bench_linear(bench, random);
  bench_conv(bench, random);
  bench_depthwise(bench, random);
  bench_attention(bench, random);
  bench_moe(bench, random);
  bench_rows(bench, random);
  bench_sample(bench, random);
  return 0;
}

}  // namespace tutti::op_check
