// Sixteen floats as 1, 2 or 4 machine vectors. Included by loops/*.cc only, in the namespace of the
// instruction set; everything is static and inlined, so no symbol is shared between sets.
#pragma once

#include "core/ops/cpu/loops/loops.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifndef BLOCKSTEP_LOOPS_ISA
#define BLOCKSTEP_LOOPS_ISA baseline
#endif
#define BLOCKSTEP_INLINE static inline __attribute__((always_inline))
// For inner loops of their own: inlined into a large caller they lose their registers to it.
#define BLOCKSTEP_NOINLINE static __attribute__((noinline, unused))

namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA {

#if defined(__AVX512F__)
static constexpr int kLanes = 16;
#elif defined(__AVX2__)
static constexpr int kLanes = 8;
#else
static constexpr int kLanes = 4;
#endif
static constexpr int kWidth = 16, kParts = kWidth / kLanes;

typedef float Vec __attribute__((vector_size(kLanes * 4), may_alias));
typedef int32_t IVec __attribute__((vector_size(kLanes * 4), may_alias));
typedef float UnalignedVec __attribute__((vector_size(kLanes * 4), may_alias, aligned(4)));

struct F32x16 {
  Vec v[kParts];
};

#define BLOCKSTEP_EACH_PART for (int part = 0; part < kParts; ++part)

BLOCKSTEP_INLINE F32x16 Load(const float* p) {
  F32x16 r;
  BLOCKSTEP_EACH_PART r.v[part] = *reinterpret_cast<const UnalignedVec*>(p + part * kLanes);
  return r;
}
BLOCKSTEP_INLINE void Store(float* p, const F32x16& x) {
  BLOCKSTEP_EACH_PART* reinterpret_cast<UnalignedVec*>(p + part * kLanes) = x.v[part];
}
// The first n < 16 lanes; the others hold `rest`.
BLOCKSTEP_INLINE F32x16 LoadPart(const float* p, int64_t n, float rest = 0.0f) {
  float lanes[kWidth];
  for (int i = 0; i < kWidth; ++i) lanes[i] = rest;
  __builtin_memcpy(lanes, p, n * sizeof(float));
  return Load(lanes);
}
BLOCKSTEP_INLINE void StorePart(float* p, const F32x16& x, int64_t n) {
  float lanes[kWidth];
  Store(lanes, x);
  __builtin_memcpy(p, lanes, n * sizeof(float));
}
// All lanes x, sign of zero included (adding x to a zero vector would lose it, and cost an
// addition).
BLOCKSTEP_INLINE Vec SetVec(float x) {
#if defined(__AVX512F__)
  return reinterpret_cast<Vec>(_mm512_set1_ps(x));
#elif defined(__AVX2__)
  return reinterpret_cast<Vec>(_mm256_set1_ps(x));
#else
  return Vec{x, x, x, x};
#endif
}
BLOCKSTEP_INLINE F32x16 Set(float x) {
  F32x16 r;
  BLOCKSTEP_EACH_PART r.v[part] = SetVec(x);
  return r;
}

#define BLOCKSTEP_BINARY(op)                                              \
  BLOCKSTEP_INLINE F32x16 operator op(const F32x16& a, const F32x16& b) { \
    F32x16 r;                                                             \
    BLOCKSTEP_EACH_PART r.v[part] = a.v[part] op b.v[part];               \
    return r;                                                             \
  }
BLOCKSTEP_BINARY(+)
BLOCKSTEP_BINARY(-)
BLOCKSTEP_BINARY(*)
BLOCKSTEP_BINARY(/)
#undef BLOCKSTEP_BINARY

// b where b > a, else a: a NaN in b is dropped.
BLOCKSTEP_INLINE F32x16 Max(const F32x16& a, const F32x16& b) {
  F32x16 r;
  BLOCKSTEP_EACH_PART r.v[part] = b.v[part] > a.v[part] ? b.v[part] : a.v[part];
  return r;
}

BLOCKSTEP_INLINE F32x16 Sqrt(const F32x16& a) {
  F32x16 r;
#if defined(__AVX512F__)
  r.v[0] = reinterpret_cast<Vec>(_mm512_sqrt_ps(reinterpret_cast<__m512>(a.v[0])));
#elif defined(__AVX2__)
  BLOCKSTEP_EACH_PART r.v[part] =
      reinterpret_cast<Vec>(_mm256_sqrt_ps(reinterpret_cast<__m256>(a.v[part])));
#elif defined(__SSE2__)
  BLOCKSTEP_EACH_PART r.v[part] =
      reinterpret_cast<Vec>(_mm_sqrt_ps(reinterpret_cast<__m128>(a.v[part])));
#else
  BLOCKSTEP_EACH_PART for (int i = 0; i < kLanes; ++i) r.v[part][i] = __builtin_sqrtf(a.v[part][i]);
#endif
  return r;
}

// a * b + c, rounded once where the instruction set can.
BLOCKSTEP_INLINE F32x16 Fma(const F32x16& a, const F32x16& b, const F32x16& c) {
  F32x16 r;
#if defined(__AVX512F__)
  r.v[0] = reinterpret_cast<Vec>(_mm512_fmadd_ps(reinterpret_cast<__m512>(a.v[0]),
                                                 reinterpret_cast<__m512>(b.v[0]),
                                                 reinterpret_cast<__m512>(c.v[0])));
#elif defined(__FMA__)
  BLOCKSTEP_EACH_PART r.v[part] = reinterpret_cast<Vec>(
      _mm256_fmadd_ps(reinterpret_cast<__m256>(a.v[part]), reinterpret_cast<__m256>(b.v[part]),
                      reinterpret_cast<__m256>(c.v[part])));
#else
  BLOCKSTEP_EACH_PART r.v[part] = a.v[part] * b.v[part] + c.v[part];
#endif
  return r;
}

// Over the 16 lanes, as a tree of halves: lane i joins lane i + 8, then i + 4, i + 2, i + 1. The
// order is the same for every vector width.
#if defined(__AVX512F__)
#define BLOCKSTEP_FOLD(x, op)                                                                     \
  x.v[0] = op(x.v[0], __builtin_shufflevector(x.v[0], x.v[0], 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, \
                                              2, 3, 4, 5, 6, 7));                                 \
  x.v[0] = op(x.v[0], __builtin_shufflevector(x.v[0], x.v[0], 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, \
                                              15, 8, 9, 10, 11));                                 \
  x.v[0] = op(x.v[0], __builtin_shufflevector(x.v[0], x.v[0], 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8,  \
                                              9, 14, 15, 12, 13));                                \
  x.v[0] = op(x.v[0], __builtin_shufflevector(x.v[0], x.v[0], 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11,   \
                                              10, 13, 12, 15, 14))
#elif defined(__AVX2__)
#define BLOCKSTEP_FOLD(x, op)                                                           \
  x.v[0] = op(x.v[0], x.v[1]);                                                          \
  x.v[0] = op(x.v[0], __builtin_shufflevector(x.v[0], x.v[0], 4, 5, 6, 7, 0, 1, 2, 3)); \
  x.v[0] = op(x.v[0], __builtin_shufflevector(x.v[0], x.v[0], 2, 3, 0, 1, 6, 7, 4, 5)); \
  x.v[0] = op(x.v[0], __builtin_shufflevector(x.v[0], x.v[0], 1, 0, 3, 2, 5, 4, 7, 6))
#else
#define BLOCKSTEP_FOLD(x, op)                                               \
  x.v[0] = op(op(x.v[0], x.v[2]), op(x.v[1], x.v[3]));                      \
  x.v[0] = op(x.v[0], __builtin_shufflevector(x.v[0], x.v[0], 2, 3, 0, 1)); \
  x.v[0] = op(x.v[0], __builtin_shufflevector(x.v[0], x.v[0], 1, 0, 3, 2))
#endif
BLOCKSTEP_INLINE Vec AddVec(Vec a, Vec b) { return a + b; }
BLOCKSTEP_INLINE Vec MaxVec(Vec a, Vec b) { return b > a ? b : a; }
BLOCKSTEP_INLINE float SumLanes(F32x16 x) {
  BLOCKSTEP_FOLD(x, AddVec);
  return x.v[0][0];
}
BLOCKSTEP_INLINE float MaxLanes(F32x16 x) {
  BLOCKSTEP_FOLD(x, MaxVec);
  return x.v[0][0];
}

// e^x with an error of at most 1.1 ulp (tests/core/loops_test.cc) for x in [-87.3, 88]; 0 below,
// e^88 above, NaN for NaN.
BLOCKSTEP_INLINE F32x16 Exp(const F32x16& x) {
  const Vec kLow = SetVec(-87.3f), kHigh = SetVec(88.0f), kMagic = SetVec(0x1.8p23f);
  F32x16 clamped, n, scale;
  BLOCKSTEP_EACH_PART {
    Vec c = x.v[part] < kLow ? kLow : x.v[part];
    clamped.v[part] = c > kHigh ? kHigh : c;
  }
  // Adding 1.5 * 2^23 leaves round(x / ln 2) in the low bits.
  const F32x16 biased = Fma(clamped, Set(0x1.715476p0f), Set(0x1.8p23f));
  BLOCKSTEP_EACH_PART {
    n.v[part] = biased.v[part] - kMagic;
    scale.v[part] =
        reinterpret_cast<Vec>((reinterpret_cast<IVec>(biased.v[part]) << 23) + (127 << 23));
  }
  // ln 2 in two parts, the first short enough that n * it is exact.
  F32x16 r = Fma(n, Set(-0x1.63p-1f), clamped);
  r = Fma(n, Set(0x1.bd0106p-13f), r);
  F32x16 p = Set(1.9875691500e-4f);
  p = Fma(p, r, Set(1.3981999507e-3f));
  p = Fma(p, r, Set(8.3334519073e-3f));
  p = Fma(p, r, Set(4.1665795894e-2f));
  p = Fma(p, r, Set(1.6666665459e-1f));
  p = Fma(p, r, Set(5.0000001201e-1f));
  F32x16 e = (Fma(p, r * r, r) + Set(1.0f)) * scale;
  BLOCKSTEP_EACH_PART e.v[part] = x.v[part] < kLow ? Vec{} : e.v[part];
  return e;
}

// Walks n elements in vectors of 16; the last, shorter one runs the same operations on padded
// lanes, so an element's bits do not depend on where the row ends.
struct WholeVector {
  BLOCKSTEP_INLINE F32x16 Get(const float* p) { return Load(p); }
  BLOCKSTEP_INLINE void Put(float* p, const F32x16& x) { Store(p, x); }
};
struct PartVector {
  int64_t n;
  inline __attribute__((always_inline)) F32x16 Get(const float* p) const { return LoadPart(p, n); }
  inline __attribute__((always_inline)) void Put(float* p, const F32x16& x) const {
    StorePart(p, x, n);
  }
};

// body(offset, io) with io.Get and io.Put.
template <typename Body>
BLOCKSTEP_INLINE void ForVectors(int64_t n, Body&& body) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) body(i, WholeVector{});
  if (i < n) body(i, PartVector{n - i});
}

}  // namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA
