#include "ops/elementwise.h"

#include "ops/parallel.h"

namespace tutti::ops {

namespace {

// Elementary operations per element of a transcendental kernel.
constexpr int64_t kTranscendental = 4;

// body(row, n) over rows; contiguous tensors are cut into pieces of one long row instead.
template <typename Body>
void for_elements(OpContext& ctx, const Tensor& shape_of, bool contiguous, int64_t work,
                  const Body& body) {
  check_cpu(ctx);
  if (contiguous) {
    // Pieces of whole vectors, so that threads do not share cache lines.
    constexpr int64_t kPiece = 1024;
    const int64_t n = shape_of.num_elements();
    for_rows(ctx, (n + kPiece - 1) / kPiece, kPiece * work, [&](int64_t begin, int64_t end) {
      const int64_t first = begin * kPiece;
      body(0, first, std::min(end * kPiece, n) - first);
    });
    return;
  }
  const int64_t columns = shape_of.cols();
  for_rows(ctx, shape_of.rows(), columns * work, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) body(r, 0, columns);
  });
}

}  // namespace

void add(OpContext& ctx, const Tensor& a, const Tensor& b, const Tensor& out) {
  check_f32(a);
  check_f32(b);
  check_f32(out);
  check_same(a, b);
  check_same(a, out);
  const bool flat = a.is_contiguous() && b.is_contiguous() && out.is_contiguous();
  for_elements(ctx, out, flat, 1, [&](int64_t r, int64_t c, int64_t n) {
    cpu::kernels().add(row(a, r) + c, row(b, r) + c, row(out, r) + c, n);
  });
}

void silu_mul(OpContext& ctx, const Tensor& gate, const Tensor& up, const Tensor& out) {
  check_f32(gate);
  check_f32(up);
  check_f32(out);
  check_same(gate, up);
  check_same(gate, out);
  const bool flat = gate.is_contiguous() && up.is_contiguous() && out.is_contiguous();
  for_elements(ctx, out, flat, kTranscendental, [&](int64_t r, int64_t c, int64_t n) {
    cpu::kernels().silu_mul(row(gate, r) + c, row(up, r) + c, row(out, r) + c, n);
  });
}

void activate(OpContext& ctx, Activation activation, const Tensor& x, const Tensor& out) {
  check_f32(x);
  check_f32(out);
  check_same(x, out);
  const bool flat = x.is_contiguous() && out.is_contiguous();
  for_elements(ctx, out, flat, kTranscendental, [&](int64_t r, int64_t c, int64_t n) {
    cpu::kernels().activate(static_cast<cpu::Act>(activation), row(x, r) + c, row(out, r) + c, n);
  });
}

void scale_add(OpContext& ctx, const Tensor& x, const Tensor& scale, const Tensor& residual,
               const Tensor& out) {
  check_f32(x);
  check_f32(residual);
  check_f32(out);
  check_same(x, out);
  check_same(x, residual);
  const cpu::Param factors = param(scale, x.cols());
  for_elements(ctx, out, false, 1, [&](int64_t r, int64_t, int64_t n) {
    cpu::kernels().scale_add(row(x, r), factors, row(residual, r), row(out, r), n);
  });
}

void sigmoid_gate_add(OpContext& ctx, const Tensor& gate, const Tensor& x, const Tensor& out) {
  check_f32(gate);
  check_f32(x);
  check_f32(out);
  check_same(x, out);
  TUTTI_CHECK(gate.rows() == x.rows() && gate.cols() == 1, "gate is [T, 1]");
  for_elements(ctx, out, false, 1, [&](int64_t r, int64_t, int64_t n) {
    const float g = *row(gate, r);
    float e = 0;
    cpu::kernels().exp(&g, -1.0f, 0.0f, &e, 1);
    cpu::kernels().axpy(1.0f / (1.0f + e), row(x, r), row(out, r), n);
  });
}

void clamp(OpContext& ctx, const Tensor& x, float low, float high, const Tensor& out) {
  check_f32(x);
  check_f32(out);
  check_same(x, out);
  const bool flat = x.is_contiguous() && out.is_contiguous();
  for_elements(ctx, out, flat, 1, [&](int64_t r, int64_t c, int64_t n) {
    cpu::kernels().clamp(row(x, r) + c, low, high, row(out, r) + c, n);
  });
}

void snake_beta(OpContext& ctx, const Tensor& x, const Tensor& alpha, const Tensor& inv_beta,
                const Tensor& out) {
  check_f32(x);
  check_f32(out);
  check_same(x, out);
  const cpu::Param a = param(alpha, x.cols()), b = param(inv_beta, x.cols());
  for_elements(ctx, out, false, kTranscendental, [&](int64_t r, int64_t, int64_t n) {
    cpu::kernels().snake(row(x, r), a, b, row(out, r), n);
  });
}

}  // namespace tutti::ops
