#include "tests/bench/peak.h"

#include <atomic>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace blockstep {
namespace {

constexpr int64_t kRounds = 200000;

#if defined(__x86_64__)
// Sixteen chains hide the latency; the empty asm keeps the compiler from solving the recurrence.
__attribute__((target("avx512f"))) double Fma512() {
  __m512 a[16], x = _mm512_set1_ps(0.999999f), y = _mm512_set1_ps(1e-7f);
  for (int i = 0; i < 16; ++i) a[i] = _mm512_set1_ps(1.0f + static_cast<float>(i));
  for (int64_t k = 0; k < kRounds; ++k) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) a[i] = _mm512_fmadd_ps(a[i], x, y);
    asm volatile("" : "+v"(x), "+v"(y));
  }
  __m512 sum = a[0];
  for (int i = 1; i < 16; ++i) sum = _mm512_add_ps(sum, a[i]);
  volatile float sink = _mm512_cvtss_f32(sum);
  (void)sink;
  return 16.0 * 16 * 2 * kRounds;
}

__attribute__((target("avx2,fma"))) double Fma256() {
  __m256 a[12], x = _mm256_set1_ps(0.999999f), y = _mm256_set1_ps(1e-7f);
  for (int i = 0; i < 12; ++i) a[i] = _mm256_set1_ps(1.0f + static_cast<float>(i));
  for (int64_t k = 0; k < kRounds; ++k) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) a[i] = _mm256_fmadd_ps(a[i], x, y);
    asm volatile("" : "+x"(x), "+x"(y));
  }
  __m256 sum = a[0];
  for (int i = 1; i < 12; ++i) sum = _mm256_add_ps(sum, a[i]);
  volatile float sink = _mm256_cvtss_f32(sum);
  (void)sink;
  return 12.0 * 8 * 2 * kRounds;
}
#endif

// Four lanes with a multiply and an add each: what every processor has.
double MulAdd() {
  typedef float Vec __attribute__((vector_size(16)));
  Vec a[8], x = Vec{} + 0.999999f, y = Vec{} + 1e-7f;
  for (int i = 0; i < 8; ++i) a[i] = Vec{} + (1.0f + static_cast<float>(i));
  for (int64_t k = 0; k < kRounds; ++k) {
    for (int i = 0; i < 8; ++i) a[i] = a[i] * x + y;
    asm volatile("" : : "m"(x), "m"(y));
  }
  Vec sum = a[0];
  for (int i = 1; i < 8; ++i) sum += a[i];
  volatile float sink = sum[0];
  (void)sink;
  return 8.0 * 4 * 2 * kRounds;
}

double OneThread() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return Fma512();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Fma256();
#endif
  return MulAdd();
}

}  // namespace

double RunPeak(ThreadPool& pool) {
  std::atomic<int64_t> flops{0};
  pool.ParallelFor(pool.threads(), [&](int64_t) { flops += static_cast<int64_t>(OneThread()); });
  return static_cast<double>(flops);
}

}  // namespace blockstep
