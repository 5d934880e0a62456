#include "machine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "backend/cpu/isa.h"
#include "tensor/tensor.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace tutti::op_check {

namespace {

constexpr int64_t kBytes = int64_t{192} << 20;  // six times a large third-level cache

template <typename Work>
double timed(const Work& work) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Keeps results of measured loops alive.
std::atomic<float> sink;

constexpr int64_t kFmaSteps = 2'000;

#ifdef __x86_64__
__attribute__((target("avx512f"))) int64_t fma_loop_avx512() {
  constexpr int kChains = 24;
  __m512 acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
  for (int64_t s = 0; s < kFmaSteps; ++s) {
#pragma GCC unroll 24
    for (int i = 0; i < kChains; ++i) {
      acc[i] = _mm512_fmadd_ps(acc[i], a, b);
      asm volatile("" : "+v"(acc[i]));  // the loop stays
    }
  }
  __m512 sum = acc[0];
  for (int i = 1; i < kChains; ++i) sum = _mm512_add_ps(sum, acc[i]);
  sink = _mm512_reduce_add_ps(sum);
  return kFmaSteps * kChains * 16 * 2;
}
__attribute__((target("avx2,fma"))) int64_t fma_loop_avx2() {
  constexpr int kChains = 12;
  __m256 acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = _mm256_set1_ps(static_cast<float>(i));
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  for (int64_t s = 0; s < kFmaSteps; ++s) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) {
      acc[i] = _mm256_fmadd_ps(acc[i], a, b);
      asm volatile("" : "+x"(acc[i]));
    }
  }
  __m256 sum = acc[0];
  for (int i = 1; i < kChains; ++i) sum = _mm256_add_ps(sum, acc[i]);
  sink = _mm256_cvtss_f32(sum);
  return kFmaSteps * kChains * 8 * 2;
}
#endif

int64_t fma_loop_scalar() {
  float acc[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  for (int64_t s = 0; s < kFmaSteps; ++s) {
    for (float& x : acc) {
      x = x * 0.999f + 0.001f;
      asm volatile("" : "+m"(x));
    }
  }
  sink = acc[0] + acc[1] + acc[2] + acc[3] + acc[4] + acc[5] + acc[6] + acc[7];
  return kFmaSteps * 8 * 2;
}

int64_t fma_loop() {
#ifdef __x86_64__
  const cpu::CpuKernels* table = &cpu::kernels();
  if (table == cpu::avx512_kernels()) return fma_loop_avx512();
  if (table == cpu::avx2_kernels()) return fma_loop_avx2();
#endif
  return fma_loop_scalar();
}

}  // namespace

Machine::Machine(ThreadPool& pool)
    : pool_(pool),
      from_(Tensor::zeros({kBytes}, DType::kU8)),
      to_(Tensor::zeros({kBytes}, DType::kU8)) {}

double Machine::copy_gb_s() {
  constexpr int64_t kPart = kBytes / 12;
  at_ = (at_ + kPart) % kBytes;
  const double seconds = timed([&] {
    pool_.parallel_for(
        kPart, kPart / (8 * pool_.num_threads()), [&](int64_t begin, int64_t end, int) {
          std::memcpy(to_.data<uint8_t>() + at_ + begin, from_.data<uint8_t>() + at_ + begin,
                      static_cast<size_t>(end - begin));
        });
  });
  return 2.0 * kPart / seconds / 1e9;
}

double Machine::gflops() {
  std::atomic<int64_t> operations{0};
  const double seconds = timed([&] {
    pool_.parallel_for(8 * pool_.num_threads(), 1,
                       [&](int64_t, int64_t, int) { operations += fma_loop(); });
  });
  return static_cast<double>(operations) / seconds / 1e9;
}

}  // namespace tutti::op_check
