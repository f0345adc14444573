// C (m, n) = or += A (m, k) * B (k, n) on blocks that fit the caches: m a multiple of 8, n of 16,
// any k. B and C are row-major with 16 contiguous columns per vector; A is read one element at a
// time, so any two strides do. Each element of C is one chain of multiply-adds in ascending k.
#pragma once

#include "core/ops/cpu/loops/vec.h"

namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA {

#if defined(__AVX512F__)
static constexpr int kGemmRows = 8, kGemmVectors = 2;
#elif defined(__AVX2__)
static constexpr int kGemmRows = 4, kGemmVectors = 1;
#else
static constexpr int kGemmRows = 2, kGemmVectors = 1;
#endif

struct BlockA {
  const float* data;
  int64_t row_stride, k_stride;
};

template <int kVectors>
BLOCKSTEP_NOINLINE void GemmStrip(int64_t k, BlockA a, const float* b, int64_t ldb, float* c,
                                  int64_t ldc, bool add) {
  F32x16 acc[kGemmRows][kVectors];
  for (int r = 0; r < kGemmRows; ++r) {
    for (int g = 0; g < kVectors; ++g) acc[r][g] = add ? Load(c + r * ldc + g * kWidth) : Set(0.0f);
  }
  for (int64_t i = 0; i < k; ++i) {
    F32x16 row[kVectors];
    for (int g = 0; g < kVectors; ++g) row[g] = Load(b + i * ldb + g * kWidth);
    for (int r = 0; r < kGemmRows; ++r) {
      const F32x16 x = Set(a.data[r * a.row_stride + i * a.k_stride]);
      for (int g = 0; g < kVectors; ++g) acc[r][g] = Fma(x, row[g], acc[r][g]);
    }
  }
  for (int r = 0; r < kGemmRows; ++r) {
    for (int g = 0; g < kVectors; ++g) Store(c + r * ldc + g * kWidth, acc[r][g]);
  }
}

BLOCKSTEP_NOINLINE void GemmBlock(int64_t m, int64_t n, int64_t k, BlockA a, const float* b,
                                  int64_t ldb, float* c, int64_t ldc, bool add) {
  for (int64_t row = 0; row < m; row += kGemmRows) {
    const BlockA strip = {a.data + row * a.row_stride, a.row_stride, a.k_stride};
    int64_t col = 0;
    for (; col + kGemmVectors * kWidth <= n; col += kGemmVectors * kWidth) {
      GemmStrip<kGemmVectors>(k, strip, b + col, ldb, c + row * ldc + col, ldc, add);
    }
    for (; col < n; col += kWidth) {
      GemmStrip<1>(k, strip, b + col, ldb, c + row * ldc + col, ldc, add);
    }
  }
}

}  // namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA
