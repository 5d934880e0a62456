#include "ops/linear.h"

#include "common.h"

namespace tutti::op_check {
namespace {

double naive_activation(ops::Activation activation, double x) {
  switch (activation) {
    case ops::Activation::kNone:
      return x;
    case ops::Activation::kSilu:
      return x / (1 + std::exp(-x));
    case ops::Activation::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case ops::Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  return x;
}

std::vector<double> naive_linear(const Tensor& x, const Tensor& w, const Tensor& bias,
                                 ops::Activation activation, const Tensor* residual) {
  const int64_t rows = x.rows(), k = x.cols(), n = w.dim(0);
  std::vector<double> out(rows * n);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = bias.defined() ? at(bias, j) : 0;
      for (int64_t l = 0; l < k; ++l) sum += at(x, i * k + l) * at(w, j * k + l);
      out[i * n + j] =
          naive_activation(activation, sum) + (residual != nullptr ? at(*residual, i * n + j) : 0);
    }
  }
  return out;
}

void check_shape(Random& random, int64_t rows, int64_t k, int64_t n) {
  const DType dtype = random.weight_dtype();
  const Tensor x = random.tensor({rows, k});
  const Tensor w = random.tensor({n, k}, 1 / std::sqrt(static_cast<float>(k)), dtype);
  const Tensor bias =
      random.integer(0, 1) ? random.tensor({n}, 1, random.weight_dtype()) : Tensor();
  const Tensor residual = random.tensor({rows, n});
  const bool add = random.integer(0, 1);
  const auto activation = static_cast<ops::Activation>(random.integer(0, 3));
  const auto run = [&](OpContext& ctx) {
    ops::LinearOptions options;
    options.activation = activation;
    const Tensor out = add ? with_stride(residual, 6) : Tensor::empty({rows, n});
    if (add) options.residual = &out;  // in place
    ops::linear(ctx, with_stride(x, 4), w, bias, out, options);
    return out;
  };
  check_everywhere(run, naive_linear(x, w, bias, activation, add ? &residual : nullptr), 2e-5,
                   "rows " + std::to_string(rows) + " k " + std::to_string(k) + " n " +
                       std::to_string(n) + " " + std::string(dtype_name(dtype)));
}

TEST(Linear, MatchesTheFormulaOnEveryIsa) {
  Random random;
  for (auto [rows, k, n] : std::vector<std::array<int64_t, 3>>{{1, 1, 1},
                                                               {1, 56, 20},
                                                               {2, 40, 24},
                                                               {3, 24, 5},
                                                               {7, 33, 1},
                                                               {9, 64, 130},
                                                               {13, 96, 7}}) {
    check_shape(random, rows, k, n);
  }
  for (int i = 0; i < 30; ++i) {
    check_shape(random, random.integer(1, 20), random.integer(1, 130), random.integer(1, 60));
  }
}

TEST(Linear, ARowDoesNotDependOnTheOthers) {
  Random random;
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const int64_t k = 200, n = 77;
    const Tensor x = random.tensor({64, k});
    const Tensor w = random.tensor({n, k}, 0.1f, dtype);
    for (cpu::CpuIsa isa : cpu::available_isas()) {
      cpu::set_isa_for_testing(isa);
      Tensor single = Tensor::empty({64, n});
      for (int64_t r = 0; r < 64; ++r) {
        ops::linear(one_thread().op, x.slice(r, r + 1), w, {}, single.slice(r, r + 1));
      }
      for (int64_t rows = 1; rows <= 64; ++rows) {
        for (Context* context : {&one_thread(), &three_threads()}) {
          const Tensor out = Tensor::empty({rows, n});
          ops::linear(context->op, x.slice(0, rows), w, {}, out);
          expect_same_bits(out, single.slice(0, rows), "rows " + std::to_string(rows));
        }
      }
    }
  }
}

TEST(Linear, LargeMapsCutInPiecesGiveTheSameBits) {
  Random random;
  const int64_t rows = 500, k = 300, n = 1100;
  const Tensor x = random.tensor({rows, k});
  const Tensor w = random.tensor({n, k}, 0.1f, DType::kBF16);
  cpu::set_isa_for_testing(cpu::available_isas().back());
  const Tensor a = Tensor::empty({rows, n}), b = Tensor::empty({rows, n});
  ops::linear(three_threads().op, x, w, {}, a);
  for (int64_t r = 0; r < rows; ++r) {
    ops::linear(one_thread().op, x.slice(r, r + 1), w, {}, b.slice(r, r + 1));
  }
  expect_same_bits(a, b, "500 rows");
}

TEST(Linear, LongRowsTakenInBlocksGiveTheSameBits) {
  Random random;
  const int64_t rows = 21, k = 2500, n = 203;
  const Tensor x = random.tensor({rows, k});
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const Tensor w = random.tensor({n, k}, 0.02f, dtype);
    const auto expected = naive_linear(x, w, {}, ops::Activation::kNone, nullptr);
    for (cpu::CpuIsa isa : cpu::available_isas()) {
      if (isa == cpu::CpuIsa::kScalar) continue;
      cpu::set_isa_for_testing(isa);
      const Tensor single = Tensor::empty({rows, n});
      for (int64_t r = 0; r < rows; ++r) {
        ops::linear(one_thread().op, x.slice(r, r + 1), w, {}, single.slice(r, r + 1));
      }
      expect_close(single, expected, 2e-5, "k 2500");
      for (int64_t count = 1; count <= rows; ++count) {
        const Tensor out = Tensor::empty({count, n});
        ops::linear(three_threads().op, x.slice(0, count), w, {}, out);
        expect_same_bits(out, single.slice(0, count), "k 2500, rows " + std::to_string(count));
      }
    }
  }
}

TEST(Linear, ManyEqualsOneByOne) {
  Random random;
  const Tensor x = random.tensor({5, 96});
  const Tensor q = random.tensor({200, 96}, 1, DType::kBF16), k = random.tensor({40, 96});
  const Tensor bias = random.tensor({200});
  cpu::set_isa_for_testing(cpu::available_isas().back());
  const Tensor one_q = Tensor::empty({5, 200}), one_k = Tensor::empty({5, 40});
  ops::linear(one_thread().op, x, q, bias, one_q);
  ops::linear(one_thread().op, x, k, {}, one_k);
  const Tensor wide = Tensor::zeros({5, 240});
  const Tensor out_q = wide.columns(0, 200), out_k = wide.columns(200, 240);
  const Tensor none;
  const ops::Projection projections[] = {{q, bias, out_q}, {k, none, out_k}};
  ops::linear_many(three_threads().op, x, projections);
  expect_same_bits(out_q, one_q, "q");
  expect_same_bits(out_k, one_k, "k");
}

}  // namespace
}  // namespace tutti::op_check
