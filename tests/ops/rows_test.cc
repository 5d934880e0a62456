// Norms, rotary, elementwise ops, embeddings and row moves.
#include "common.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/norm.h"
#include "ops/rotary.h"

namespace tutti::op_check {
namespace {

const int64_t kSizes[] = {1, 8, 20, 56, 128, 1000};

// expected[i] = formula(i)
template <typename Formula>
std::vector<double> fill(int64_t n, const Formula& formula) {
  std::vector<double> out(n);
  for (int64_t i = 0; i < n; ++i) out[i] = formula(i);
  return out;
}

TEST(RmsNorm, MatchesTheFormula) {
  Random random;
  for (int64_t d : kSizes) {
    const Tensor x = random.tensor({9, d}, 3), w = random.tensor({d}, 1, random.weight_dtype());
    const auto expected = fill(9 * d, [&](int64_t i) {
      double sum = 0;
      for (int64_t c = 0; c < d; ++c) sum += at(x, i / d * d + c) * at(x, i / d * d + c);
      return at(x, i) / std::sqrt(sum / d + 1e-6) * at(w, i % d);
    });
    check_everywhere(
        [&](OpContext& ctx) {
          const Tensor out = with_stride(x, 2);
          ops::rms_norm(ctx, out, w, 1e-6f, out);
          return out;
        },
        expected, 5e-6, "d " + std::to_string(d));
  }
}

TEST(AddRmsNorm, IsAddThenNorm) {
  Random random;
  const int64_t d = 72;
  const Tensor x = random.tensor({5, d}), r = random.tensor({5, d}), w = random.tensor({d});
  cpu::set_isa_for_testing(cpu::available_isas().back());
  const Tensor sum = Tensor::empty({5, d}), expected = Tensor::empty({5, d});
  ops::add(one_thread().op, r, x, sum);
  ops::rms_norm(one_thread().op, sum, w, 1e-5f, expected);
  const Tensor residual = r.clone(), out = Tensor::empty({5, d});
  ops::add_rms_norm(three_threads().op, x, residual, w, 1e-5f, out);
  expect_same_bits(residual, sum, "residual");
  expect_same_bits(out, expected, "norm");
}

TEST(LayerNorm, MatchesTheFormula) {
  Random random;
  for (int64_t d : kSizes) {
    if (d == 1) continue;  // the variance is rounding alone
    const Tensor x = random.tensor({7, d}, 2), w = random.tensor({d}, 1, random.weight_dtype());
    const Tensor b = random.tensor({d}, 1, random.weight_dtype());
    const auto expected = fill(7 * d, [&](int64_t i) {
      double mean = 0, var = 0;
      for (int64_t c = 0; c < d; ++c) mean += at(x, i / d * d + c) / d;
      for (int64_t c = 0; c < d; ++c) var += std::pow(at(x, i / d * d + c) - mean, 2) / d;
      return (at(x, i) - mean) / std::sqrt(var + 1e-5) * at(w, i % d) + at(b, i % d);
    });
    check_everywhere(
        [&](OpContext& ctx) {
          const Tensor out = Tensor::empty({7, d});
          ops::layer_norm(ctx, x, w, b, 1e-5f, out);
          return out;
        },
        expected, 1e-5, "d " + std::to_string(d));
  }
}

TEST(Rotary, AnglesUpToAHundredThousand) {
  Random random;
  const int64_t tokens = 50, half = 20;
  const Tensor positions = random.uniform_tensor({3, tokens}, 0, 1e5f);
  const Tensor frequencies = random.uniform_tensor({half}, 0, 1);
  const Tensor axis = random.integers({half}, 0, 2);
  for (bool want_cos : {true, false}) {
    const auto expected = fill(tokens * half, [&](int64_t i) {
      const int64_t t = i / half, f = i % half;
      const float angle = positions.data<float>()[axis.data<int32_t>()[f] * tokens + t] *
                          frequencies.data<float>()[f];
      return want_cos ? std::cos(static_cast<double>(angle)) : std::sin(static_cast<double>(angle));
    });
    check_everywhere(
        [&](OpContext& ctx) {
          const Tensor cos = Tensor::empty({tokens, half}), sin = Tensor::empty({tokens, half});
          ops::rotary_cos_sin(ctx, positions, frequencies, axis, cos, sin);
          return want_cos ? cos : sin;
        },
        expected, 1e-6, "angles");
  }
}

TEST(Rotary, TurnsHalvesOfEveryHead) {
  Random random;
  for (int64_t half : {4, 12, 64}) {
    const int64_t tokens = 6, heads = 5, d = 2 * half;
    const Tensor x = random.tensor({tokens, heads * d});
    const Tensor cos = random.tensor({tokens, half}), sin = random.tensor({tokens, half});
    const auto expected = fill(tokens * heads * d, [&](int64_t i) {
      const int64_t t = i / (heads * d), c = i % d;
      const double co = at(cos, t * half + c % half), si = at(sin, t * half + c % half);
      return c < half ? at(x, i) * co - at(x, i + half) * si : at(x, i) * co + at(x, i - half) * si;
    });
    const Tensor packed = check_everywhere(
        [&](OpContext& ctx) {
          const Tensor out = x.clone().reshape({tokens, heads, d});
          ops::apply_rotary(ctx, out, cos, sin);
          return out;
        },
        expected, 2e-6, "half " + std::to_string(half));
    const Tensor strided = with_stride(x, 8);
    ops::apply_rotary(one_thread().op, strided, cos, sin);
    expect_same_bits(strided, packed, "strided tokens");
  }
}

TEST(Elementwise, ActivationsMatchTheFormulas) {
  Random random;
  const Tensor x = random.uniform_tensor({3, 700}, -12, 12);
  const auto check = [&](ops::Activation activation, auto formula) {
    check_everywhere(
        [&](OpContext& ctx) {
          const Tensor out = x.clone();
          ops::activate(ctx, activation, out, out);
          return out;
        },
        fill(2100, [&](int64_t i) { return formula(at(x, i)); }), 3e-6, "activation");
  };
  check(ops::Activation::kNone, [](double v) { return v; });
  check(ops::Activation::kSilu, [](double v) { return v / (1 + std::exp(-v)); });
  check(ops::Activation::kGelu,
        [](double v) { return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0))); });
  check(ops::Activation::kGeluTanh, [](double v) {
    return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
  });
}

TEST(Elementwise, ActivationsPassInfinityAndNan) {
  for (cpu::CpuIsa isa : cpu::available_isas()) {
    cpu::set_isa_for_testing(isa);
    const float inf = std::numeric_limits<float>::infinity();
    const Tensor x = Tensor::from_vector<float>({std::nanf(""), 1e30f, inf, -1e30f}, {4});
    const Tensor out = Tensor::empty({4});
    ops::activate(one_thread().op, ops::Activation::kSilu, x, out);
    EXPECT_TRUE(std::isnan(out.data<float>()[0]));
    EXPECT_EQ(out.data<float>()[1], 1e30f);
    EXPECT_EQ(out.data<float>()[2], inf);
    EXPECT_EQ(out.data<float>()[3], 0.0f);
  }
}

TEST(Elementwise, SnakeBetaIsExactForLargeArguments) {
  Random random;
  for (int64_t channels : {3, 24, 96}) {
    const int64_t n = 40 * channels;
    const Tensor x = random.uniform_tensor({40, channels}, -100, 100);
    const Tensor alpha = random.uniform_tensor({channels}, 0.1f, 10);
    const Tensor inv_beta = random.uniform_tensor({channels}, 0.1f, 1);
    const auto expected = fill(n, [&](int64_t i) {
      // The argument is rounded to F32, as in any F32 implementation.
      const float argument = x.data<float>()[i] * alpha.data<float>()[i % channels];
      const double sine = std::sin(static_cast<double>(argument));
      return at(x, i) + at(inv_beta, i % channels) * sine * sine;
    });
    check_everywhere(
        [&](OpContext& ctx) {
          const Tensor out = x.clone();
          ops::snake_beta(ctx, out, alpha, inv_beta, out);
          return out;
        },
        expected, 5e-6, "channels " + std::to_string(channels));
  }
  // sin^2 itself: x small beside 1 / beta = 1.
  const Tensor x = random.uniform_tensor({4000, 1}, -1e-3f, 1e-3f);
  const Tensor alpha = Tensor::from_vector<float>({1e6f}, {1});
  const Tensor one = Tensor::from_vector<float>({1}, {1});
  check_everywhere(
      [&](OpContext& ctx) {
        const Tensor out = Tensor::empty(x.shape());
        ops::snake_beta(ctx, x, alpha, one, out);
        return out;
      },
      fill(4000,
           [&](int64_t i) {
             const double sine = std::sin(static_cast<double>(x.data<float>()[i] * 1e6f));
             return at(x, i) + sine * sine;
           }),
      1e-6, "sin^2 to 1e3");
}

TEST(Elementwise, ArithmeticMatchesTheFormulas) {
  Random random;
  for (int64_t d : kSizes) {
    const int64_t n = 4 * d;
    const Tensor a = random.tensor({4, d}), b = random.tensor({4, d}), gate = random.tensor({4, 1});
    const Tensor scale = random.tensor({d}, 1, random.weight_dtype());
    const auto run = [&](const auto& op, const std::vector<double>& expected, const char* what) {
      check_everywhere(
          [&](OpContext& ctx) {
            const Tensor out = with_stride(a, 3);
            op(ctx, out);
            return out;
          },
          expected, 2e-6, what);
    };
    run([&](OpContext& ctx, const Tensor& out) { ops::add(ctx, out, b, out); },
        fill(n, [&](int64_t i) { return at(a, i) + at(b, i); }), "add");
    run([&](OpContext& ctx, const Tensor& out) { ops::silu_mul(ctx, out, b, out); },
        fill(n, [&](int64_t i) { return at(a, i) / (1 + std::exp(-at(a, i))) * at(b, i); }),
        "silu_mul");
    run([&](OpContext& ctx, const Tensor& out) { ops::scale_add(ctx, b, scale, out, out); },
        fill(n, [&](int64_t i) { return at(a, i) + at(b, i) * at(scale, i % d); }), "scale_add");
    run([&](OpContext& ctx, const Tensor& out) { ops::sigmoid_gate_add(ctx, gate, b, out); },
        fill(n, [&](int64_t i) { return at(a, i) + at(b, i) / (1 + std::exp(-at(gate, i / d))); }),
        "sigmoid_gate_add");
    run([&](OpContext& ctx, const Tensor& out) { ops::clamp(ctx, out, -0.5f, 0.25f, out); },
        fill(n, [&](int64_t i) { return std::clamp(at(a, i), -0.5, 0.25); }), "clamp");
  }
}

TEST(Rows, GatherScatterCopyCastAndZero) {
  Random random;
  const int64_t d = 37;
  const Tensor x = random.tensor({8, d}), base = random.tensor({8, d});
  const Tensor index = Tensor::from_vector<int32_t>({5, 0, 3}, {3});
  const Tensor three = random.tensor({3, d});
  const int32_t* at_row = index.data<int32_t>();
  OpContext& ctx = three_threads().op;
  for (cpu::CpuIsa isa : cpu::available_isas()) {
    cpu::set_isa_for_testing(isa);
    const Tensor gathered = Tensor::empty({3, d});
    ops::gather_rows(ctx, x, index, gathered);
    const Tensor scattered = with_stride(base, 4), added = with_stride(base, 4);
    ops::scatter_rows(ctx, three, index, scattered);
    ops::scatter_add_rows(ctx, three, index, added);
    Tensor sum = base.clone(), put = base.clone();
    for (int64_t i = 0; i < 3; ++i) {
      expect_same_bits(gathered.slice(i, i + 1), x.slice(at_row[i], at_row[i] + 1), "gather");
      for (int64_t c = 0; c < d; ++c) {
        put.data<float>()[at_row[i] * d + c] = three.data<float>()[i * d + c];
        sum.data<float>()[at_row[i] * d + c] += three.data<float>()[i * d + c];
      }
    }
    expect_same_bits(scattered, put, "scatter");
    expect_same_bits(added, sum, "scatter_add");

    const Tensor strided = with_stride(base, 4);
    ops::copy(ctx, x, strided);
    expect_same_bits(strided, x, "copy");
    const Tensor half = random.tensor({3, d}, 1, DType::kBF16), wide = Tensor::empty({3, d});
    ops::cast(ctx, half, wide);
    expect_close(wide, fill(3 * d, [&](int64_t i) { return at(half, i); }), 0, "cast");
    ops::fill_zero(ctx, strided);
    expect_same_bits(strided, Tensor::zeros({8, d}), "zero");
  }
}

TEST(Embedding, LooksUpAndSumsGroups) {
  Random random;
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const int64_t d = 27, groups = 4, rows = 10;
    const Tensor table = random.tensor({groups * rows, d}, 1, dtype);
    const Tensor ids = random.integers({6}, 0, groups * rows - 1);
    check_everywhere(
        [&](OpContext& ctx) {
          const Tensor out = Tensor::empty({6, d});
          ops::embedding(ctx, ids, table, out);
          return out;
        },
        fill(6 * d, [&](int64_t i) { return at(table, ids.data<int32_t>()[i / d] * d + i % d); }),
        0, "embedding");
    const Tensor codes = random.integers({6, groups}, 0, rows - 1);
    check_everywhere(
        [&](OpContext& ctx) {
          const Tensor out = Tensor::empty({6, d});
          ops::embedding_sum(ctx, codes, table, rows, 0.25f, out);
          return out;
        },
        fill(6 * d,
             [&](int64_t i) {
               double sum = 0;
               for (int64_t g = 0; g < groups; ++g) {
                 const int64_t r = codes.data<int32_t>()[i / d * groups + g] + g * rows;
                 sum += at(table, r * d + i % d);
               }
               return sum / groups;
             }),
        1e-6, "embedding_sum");
    const Tensor terms = random.integers({6, groups}, 0, groups * rows - 1);
    const Tensor weights = random.tensor({6, groups});
    check_everywhere(
        [&](OpContext& ctx) {
          const Tensor out = Tensor::empty({6, d});
          ops::embedding_mix(ctx, terms, weights, table, out);
          return out;
        },
        fill(6 * d,
             [&](int64_t i) {
               double sum = 0;
               for (int64_t j = i / d * groups; j < (i / d + 1) * groups; ++j) {
                 sum += at(weights, j) * at(table, terms.data<int32_t>()[j] * d + i % d);
               }
               return sum;
             }),
        2e-6, "embedding_mix");
  }
}

}  // namespace
}  // namespace tutti::op_check
