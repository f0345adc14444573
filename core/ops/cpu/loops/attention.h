// What both directions of attention share: tiles of 64, packed copies of one head with the head
// size padded to 16, and the range of keys that a query sees.
#pragma once

#include "core/ops/cpu/loops/gemm_block.h"

namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA {

static constexpr int64_t kTile = kAttentionTile;

BLOCKSTEP_INLINE int64_t Up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }
BLOCKSTEP_INLINE int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }
BLOCKSTEP_INLINE int64_t Most(int64_t a, int64_t b) { return a > b ? a : b; }

// Rows of a head, (rows, head_dim) with stride ld, into (padded_rows, width) with zeros around.
BLOCKSTEP_NOINLINE void PackRows(const float* src, int64_t ld, int64_t rows, int64_t head_dim,
                                 float factor, float* dst, int64_t padded_rows, int64_t width) {
  const F32x16 f = Set(factor);
  for (int64_t r = 0; r < padded_rows; ++r, dst += width) {
    if (r >= rows) {
      __builtin_memset(dst, 0, width * sizeof(float));
      continue;
    }
    int64_t c = 0;
    for (; c + kWidth <= head_dim; c += kWidth) Store(dst + c, Load(src + r * ld + c) * f);
    if (c < head_dim) Store(dst + c, LoadPart(src + r * ld + c, head_dim - c) * f);
  }
}

// dst(c, r) = src(r, c) for 4 rows and 4 columns.
BLOCKSTEP_INLINE void Transpose4(const float* src, int64_t ld, float* dst, int64_t dst_ld) {
#if defined(__SSE__)
  __m128 a = _mm_loadu_ps(src), b = _mm_loadu_ps(src + ld), c = _mm_loadu_ps(src + 2 * ld),
         d = _mm_loadu_ps(src + 3 * ld);
  _MM_TRANSPOSE4_PS(a, b, c, d);
  _mm_storeu_ps(dst, a);
  _mm_storeu_ps(dst + dst_ld, b);
  _mm_storeu_ps(dst + 2 * dst_ld, c);
  _mm_storeu_ps(dst + 3 * dst_ld, d);
#else
  for (int r = 0; r < 4; ++r) {
    for (int c = 0; c < 4; ++c) dst[c * dst_ld + r] = src[r * ld + c];
  }
#endif
}

// The transpose, tile by tile of 64 rows: dst is (tiles, width, 64).
BLOCKSTEP_NOINLINE void PackTransposed(const float* src, int64_t ld, int64_t rows, int64_t head_dim,
                                       float* dst, int64_t width) {
  for (int64_t tile = 0; tile < rows; tile += kTile, dst += width * kTile) {
    const int64_t count = Least(kTile, rows - tile);
    if (count < kTile || head_dim < width) __builtin_memset(dst, 0, width * kTile * sizeof(float));
    const float* from = src + tile * ld;
    const int64_t rows4 = count / 4 * 4, cols4 = head_dim / 4 * 4;
    // Whole rows first: the rows of a head lie a power of two apart and would push each other out
    // of the first cache.
    for (int64_t r = 0; r < rows4; r += 4) {
      for (int64_t c = 0; c < cols4; c += 4) {
        Transpose4(from + r * ld + c, ld, dst + c * kTile + r, kTile);
      }
    }
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t c = r < rows4 ? cols4 : 0; c < head_dim; ++c)
        dst[c * kTile + r] = from[r * ld + c];
    }
  }
}

// Keys [begin, end) that query row i of the slot sees.
struct Visible {
  int64_t begin, end;
};
BLOCKSTEP_INLINE Visible VisibleKeys(const AttentionTask& t, int64_t i) {
  return {t.first_key != nullptr ? t.first_key[i] : 0, t.q_offset + i + 1};
}

// Columns of the key tile at k0 that some row of [i, i + 8) sees, rounded up to 16; 0: none.
BLOCKSTEP_INLINE int64_t ColumnsOf(const AttentionTask& t, int64_t i, int64_t k0) {
  const int64_t last = Least(i + 8, t.q_len) - 1;
  const int64_t seen = t.q_offset + last + 1 - k0;
  return seen <= 0 ? 0 : Least(kTile, Up(seen, kWidth));
}

}  // namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA
