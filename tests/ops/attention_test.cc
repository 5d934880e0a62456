#include "ops/attention.h"

#include <numeric>

#include "common.h"

namespace tutti::op_check {
namespace {

// A cache with room for `sequences` of up to `length` tokens, blocks handed out in random order.
struct Cache {
  int64_t block_size, kv_heads, head_dim, max_blocks;
  Tensor k, v, tables;

  Cache(Random& random, int64_t sequences, int64_t length, int64_t block_size, int64_t kv_heads,
        int64_t head_dim, DType dtype)
      : block_size(block_size),
        kv_heads(kv_heads),
        head_dim(head_dim),
        max_blocks((length + block_size - 1) / block_size) {
    const int64_t blocks = sequences * max_blocks;
    k = Tensor::empty({blocks, kv_heads, block_size, head_dim}, dtype);
    v = Tensor::empty(k.shape(), dtype);
    // Memory that was never written must not reach a result.
    std::memset(k.raw_data(), 0xff, k.bytes());
    std::memset(v.raw_data(), 0xff, v.bytes());
    tables = Tensor::empty({sequences, max_blocks}, DType::kI32);
    std::vector<int32_t> order(blocks);
    std::iota(order.begin(), order.end(), 0);
    for (int64_t i = blocks - 1; i > 0; --i) std::swap(order[i], order[random.integer(0, i)]);
    std::memcpy(tables.raw_data(), order.data(), tables.bytes());
  }
  ops::KvCacheView view() const { return {k, v}; }
  int32_t slot(int64_t sequence, int64_t position) const {
    return tables.data<int32_t>()[sequence * max_blocks + position / block_size] *
               static_cast<int32_t>(block_size) +
           static_cast<int32_t>(position % block_size);
  }
};

// New tokens of several sequences, as the engine packs them.
struct Step {
  std::vector<int64_t> lengths;  // after the step
  std::vector<int64_t> counts;   // new tokens
};

// Writes the step's keys and values and attends. q, k, v [T, heads, D].
Tensor run_step(OpContext& ctx, const Cache& cache, const Step& step, const Tensor& q,
                const Tensor& k, const Tensor& v, int64_t window) {
  const auto sequences = static_cast<int64_t>(step.lengths.size());
  std::vector<int32_t> start{0}, lengths, slots;
  int64_t longest_query = 0, longest = 0;
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t length = step.lengths[s], count = step.counts[s];
    start.push_back(start.back() + static_cast<int32_t>(count));
    lengths.push_back(static_cast<int32_t>(length));
    for (int64_t p = length - count; p < length; ++p) slots.push_back(cache.slot(s, p));
    longest_query = std::max(longest_query, count);
    longest = std::max(longest, length);
  }
  const Tensor t_start = Tensor::from_vector(start, {sequences + 1});
  const Tensor t_lengths = Tensor::from_vector(lengths, {sequences});
  const Tensor t_slots = Tensor::from_vector(slots, {static_cast<int64_t>(slots.size())});
  const ops::PagedBatch batch{t_start,   t_lengths,     cache.tables, t_slots,
                              sequences, longest_query, longest};
  ops::write_kv(ctx, k, v, batch, cache.view());
  const Tensor out = Tensor::empty(q.shape());
  ops::paged_attention(ctx, q, cache.view(), batch,
                       1 / std::sqrt(static_cast<float>(cache.head_dim)), window, out);
  return out;
}

double stored(const Tensor& t, int64_t i, DType dtype) {
  return dtype == DType::kBF16 ? to_float(to_bf16(t.data<float>()[i])) : at(t, i);
}

// One sequence: q [n, H, D] with positions total - n .., k and v [total, Hkv, D].
std::vector<double> naive_attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                                    int64_t window, bool causal, DType dtype) {
  const int64_t n = q.dim(0), heads = q.dim(1), d = q.dim(2), total = k.dim(0), kv = k.dim(1);
  std::vector<double> out(n * heads * d);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t position = total - n + i;
    const int64_t last = causal ? position + 1 : total;
    const int64_t first = window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t kh = h / (heads / kv);
      std::vector<double> score;
      double top = -1e300, sum = 0;
      for (int64_t p = first; p < last; ++p) {
        double dot = 0;
        for (int64_t l = 0; l < d; ++l) {
          dot += at(q, (i * heads + h) * d + l) * stored(k, (p * kv + kh) * d + l, dtype);
        }
        score.push_back(dot * scale);
        top = std::max(top, score.back());
      }
      for (double& s : score) sum += s = std::exp(s - top);
      for (int64_t p = first; p < last; ++p) {
        for (int64_t l = 0; l < d; ++l) {
          out[(i * heads + h) * d + l] +=
              score[p - first] / sum * stored(v, (p * kv + kh) * d + l, dtype);
        }
      }
    }
  }
  return out;
}

Tensor rows(const Tensor& t, int64_t begin, int64_t end) { return t.slice(begin, end); }

struct Case {
  int64_t length, heads, kv_heads, head_dim, block_size, window;
  DType dtype;
};
const Case kCases[] = {
    {70, 4, 2, 16, 16, 0, DType::kF32},    {300, 6, 3, 24, 16, 0, DType::kF32},
    {300, 5, 5, 40, 32, 72, DType::kBF16}, {530, 4, 1, 64, 16, 0, DType::kBF16},
    {270, 7, 1, 128, 16, 5, DType::kF32},  {40, 2, 2, 256, 8, 0, DType::kF32},
    {290, 32, 1, 8, 16, 0, DType::kF32},
};

std::string name_of(const Case& c) {
  return "length " + std::to_string(c.length) + " heads " + std::to_string(c.heads) + "/" +
         std::to_string(c.kv_heads) + " head_dim " + std::to_string(c.head_dim);
}

TEST(PagedAttention, MatchesTheFormulaOnEveryIsa) {
  Random random;
  for (const Case& c : kCases) {
    const Tensor q = random.tensor({c.length, c.heads, c.head_dim});
    const Tensor k = random.tensor({c.length, c.kv_heads, c.head_dim});
    const Tensor v = random.tensor({c.length, c.kv_heads, c.head_dim});
    const Cache cache(random, 1, c.length, c.block_size, c.kv_heads, c.head_dim, c.dtype);
    const double scale = 1 / std::sqrt(static_cast<double>(c.head_dim));
    check_everywhere(
        [&](OpContext& ctx) {
          return run_step(ctx, cache, {{c.length}, {c.length}}, q, k, v, c.window);
        },
        naive_attention(q, k, v, scale, c.window, true, c.dtype), 5e-6, name_of(c));
  }
}

TEST(PagedAttention, ChunksAndDecodeGiveTheBitsOfOnePrefill) {
  Random random;
  for (const Case& c : kCases) {
    const Tensor q = random.tensor({c.length, c.heads, c.head_dim});
    const Tensor k = random.tensor({c.length, c.kv_heads, c.head_dim});
    const Tensor v = random.tensor({c.length, c.kv_heads, c.head_dim});
    const Cache whole(random, 1, c.length, c.block_size, c.kv_heads, c.head_dim, c.dtype);
    cpu::set_isa_for_testing(cpu::available_isas().back());
    const Tensor expected =
        run_step(one_thread().op, whole, {{c.length}, {c.length}}, q, k, v, c.window);
    for (int64_t chunk : {1, 7, 64}) {
      const Cache cache(random, 1, c.length, c.block_size, c.kv_heads, c.head_dim, c.dtype);
      for (int64_t p = 0; p < c.length; p += chunk) {
        const int64_t end = std::min(p + chunk, c.length);
        Context& context = p % 2 == 0 ? three_threads() : one_thread();
        const Tensor out = run_step(context.op, cache, {{end}, {end - p}}, rows(q, p, end),
                                    rows(k, p, end), rows(v, p, end), c.window);
        expect_same_bits(
            out, rows(expected, p, end),
            name_of(c) + " chunk " + std::to_string(chunk) + " at " + std::to_string(p));
      }
    }
  }
}

TEST(PagedAttention, SequencesOfABatchDoNotTouchEachOther) {
  Random random;
  const int64_t heads = 6, kv_heads = 2, d = 32;
  const Step step{{300, 17, 520, 1}, {3, 17, 1, 1}};
  const Cache cache(random, 4, 600, 16, kv_heads, d, DType::kF32);
  cpu::set_isa_for_testing(cpu::available_isas().back());
  std::vector<Tensor> expected;
  int64_t total = 0;
  for (int64_t n : step.counts) total += n;
  const Tensor q = random.tensor({total, heads, d});
  const Tensor k = random.tensor({total, kv_heads, d}), v = random.tensor({total, kv_heads, d});
  // The history of each sequence, and its own step, alone.
  int64_t row = 0;
  for (size_t s = 0; s < step.lengths.size(); ++s) {
    const int64_t history = step.lengths[s] - step.counts[s];
    std::vector<int64_t> lengths(s + 1, 0), counts(s + 1, 0);
    lengths[s] = counts[s] = history;
    const Tensor hk = random.tensor({history, kv_heads, d});
    if (history > 0) {
      run_step(one_thread().op, cache, {lengths, counts}, random.tensor({history, heads, d}), hk,
               hk, 0);
    }
    lengths[s] = step.lengths[s];
    counts[s] = step.counts[s];
    const int64_t end = row + step.counts[s];
    expected.push_back(run_step(one_thread().op, cache, {lengths, counts}, q.slice(row, end),
                                k.slice(row, end), v.slice(row, end), 0));
    row = end;
  }
  const Tensor out = run_step(three_threads().op, cache, step, q, k, v, 0);
  row = 0;
  for (size_t s = 0; s < expected.size(); ++s) {
    expect_same_bits(out.slice(row, row + step.counts[s]), expected[s],
                     "sequence " + std::to_string(s));
    row += step.counts[s];
  }
}

TEST(SegmentAttention, MatchesTheFormulaOnEveryIsa) {
  Random random;
  for (bool causal : {false, true}) {
    const std::vector<int32_t> start{0, 30, 31, 330};
    const Tensor q = random.tensor({330, 4, 24});
    const Tensor k = random.tensor({330, 2, 24}), v = random.tensor({330, 2, 24});
    std::vector<double> expected;
    for (size_t s = 0; s + 1 < start.size(); ++s) {
      const auto part =
          naive_attention(q.slice(start[s], start[s + 1]), k.slice(start[s], start[s + 1]),
                          v.slice(start[s], start[s + 1]), 0.2, 0, causal, DType::kF32);
      expected.insert(expected.end(), part.begin(), part.end());
    }
    const Tensor starts = Tensor::from_vector(start, {4});
    check_everywhere(
        [&](OpContext& ctx) {
          const Tensor out = Tensor::empty(q.shape());
          ops::segment_attention(ctx, q, k, v, starts, 3, 0.2f, causal, out);
          return out;
        },
        expected, 5e-6, "segments");
  }
}

}  // namespace
}  // namespace tutti::op_check
