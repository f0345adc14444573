// Backward of one (slot, key/value head): scores again from the log-sum-exp, then
//   dV += P^T dO;  dS = P * (dO V^T - rowsum(dO * O));  dQ += dS K * scale;  dK += dS^T Q * scale
// over heads, query tiles and key tiles in ascending order.
#include "core/ops/cpu/loops/attention.h"

namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA {
namespace {

struct Buffers {
  float *kt, *vt, *k, *dk, *dv;   // whole slot
  float *q, *dout, *dq, *p, *ds;  // one query tile
  float lse[kTile], delta[kTile];
};

Buffers Carve(const AttentionTask& t, int64_t width) {
  const int64_t kv = Up(t.kv_len, kTile) * width, tile = kTile * width;
  Buffers b;
  float* at = t.scratch;
  float** slot[] = {&b.kt, &b.vt, &b.k, &b.dk, &b.dv};
  for (float** p : slot) {
    *p = at;
    at += kv;
  }
  float** query[] = {&b.q, &b.dout, &b.dq};
  for (float** p : query) {
    *p = at;
    at += tile;
  }
  b.p = at;
  b.ds = at + kTile * kTile;
  return b;
}

void LoadQueryTile(const AttentionTask& t, int64_t head, int64_t i0, int64_t rows, int64_t width,
                   Buffers& b) {
  const int64_t column = head * t.head_dim;
  PackRows(t.q + i0 * t.ldq + column, t.ldq, rows, t.head_dim, t.scale, b.q, kTile, width);
  PackRows(t.dout + i0 * t.lddo + column, t.lddo, rows, t.head_dim, 1.0f, b.dout, kTile, width);
  if (t.dq != nullptr) __builtin_memset(b.dq, 0, kTile * width * sizeof(float));
  for (int64_t r = 0; r < rows; ++r) {
    const float* out = t.out + (i0 + r) * t.ldo + column;
    F32x16 sum = Set(0.0f);
    int64_t c = 0;
    for (; c + kWidth <= t.head_dim; c += kWidth) {
      sum = sum + Load(out + c) * Load(b.dout + r * width + c);
    }
    if (c < t.head_dim) {
      sum = sum + LoadPart(out + c, t.head_dim - c) * Load(b.dout + r * width + c);
    }
    b.delta[r] = SumLanes(sum);
    b.lse[r] = t.lse[(i0 + r) * t.ldl + head];
  }
}

// Rows [r0, r0 + 8) of the tile: p = exp(s - lse) where visible, ds = p * (dp - delta).
BLOCKSTEP_NOINLINE void ScoreRows(const AttentionTask& t, int64_t i0, int64_t r0, int64_t rows,
                                  int64_t k0, int64_t columns, Buffers& b) {
  for (int64_t r = r0; r < r0 + 8; ++r) {
    float* p = b.p + r * kTile;
    float* ds = b.ds + r * kTile;
    if (r >= rows) {
      __builtin_memset(p, 0, columns * sizeof(float));
      __builtin_memset(ds, 0, columns * sizeof(float));
      continue;
    }
    const Visible keys = VisibleKeys(t, i0 + r);
    const int64_t begin = Least(Most(keys.begin - k0, 0), columns);
    const int64_t end = Most(Least(keys.end - k0, columns), 0);
    for (int64_t c = 0; c < begin; ++c) p[c] = -__builtin_inff();
    for (int64_t c = end; c < columns; ++c) p[c] = -__builtin_inff();
    const F32x16 lse = Set(b.lse[r]), delta = Set(b.delta[r]);
    for (int64_t c = 0; c < columns; c += kWidth) {
      const F32x16 e = Exp(Load(p + c) - lse);
      Store(p + c, e);
      Store(ds + c, e * (Load(ds + c) - delta));
    }
  }
}

void Tile(const AttentionTask& t, int64_t i0, int64_t rows, int64_t k0, int64_t width, Buffers& b) {
  int64_t first_block = kTile;  // first row block that sees anything of this tile
  for (int64_t r0 = 0; r0 < rows; r0 += 8) {
    const int64_t columns = ColumnsOf(t, i0 + r0, k0);
    if (columns == 0) continue;
    first_block = Least(first_block, r0);
    GemmBlock(8, columns, width, {b.q + r0 * width, width, 1}, b.kt + k0 * width, kTile,
              b.p + r0 * kTile, kTile, false);
    GemmBlock(8, columns, width, {b.dout + r0 * width, width, 1}, b.vt + k0 * width, kTile,
              b.ds + r0 * kTile, kTile, false);
    ScoreRows(t, i0, r0, rows, k0, columns, b);
    if (t.dq != nullptr) {
      GemmBlock(8, width, columns, {b.ds + r0 * kTile, kTile, 1}, b.k + k0 * width, width,
                b.dq + r0 * width, width, true);
    }
  }
  if (t.dk == nullptr && t.dv == nullptr) return;
  const int64_t keys = Least(kTile, t.kv_len - k0), end = Up(rows, 8);
  for (int64_t c0 = 0; c0 < keys; c0 += 8) {
    // Queries before key k0 + c0 see none of these keys; their scores were not computed.
    const int64_t first = Most(k0 + c0 - t.q_offset - i0, 0) / 8 * 8;
    const int64_t r0 = Most(first, first_block);
    if (r0 >= end) break;
    if (t.dv != nullptr) {
      GemmBlock(8, width, end - r0, {b.p + r0 * kTile + c0, 1, kTile}, b.dout + r0 * width, width,
                b.dv + (k0 + c0) * width, width, true);
    }
    if (t.dk != nullptr) {
      GemmBlock(8, width, end - r0, {b.ds + r0 * kTile + c0, 1, kTile}, b.q + r0 * width, width,
                b.dk + (k0 + c0) * width, width, true);
    }
  }
}

void StoreRows(const float* src, int64_t width, int64_t rows, int64_t head_dim, float factor,
               float* dst, int64_t ld) {
  const F32x16 f = Set(factor);
  for (int64_t r = 0; r < rows; ++r) {
    int64_t c = 0;
    for (; c + kWidth <= head_dim; c += kWidth)
      Store(dst + r * ld + c, Load(src + r * width + c) * f);
    if (c < head_dim) StorePart(dst + r * ld + c, Load(src + r * width + c) * f, head_dim - c);
  }
}

}  // namespace

void AttentionBackward(const AttentionTask& t) {
  const int64_t width = Up(t.head_dim, kWidth), kv_padded = Up(t.kv_len, kTile);
  Buffers b = Carve(t, width);
  PackTransposed(t.k, t.ldk, t.kv_len, t.head_dim, b.kt, width);
  PackTransposed(t.v, t.ldv, t.kv_len, t.head_dim, b.vt, width);
  if (t.dq != nullptr) PackRows(t.k, t.ldk, t.kv_len, t.head_dim, 1.0f, b.k, kv_padded, width);
  if (t.dk != nullptr) __builtin_memset(b.dk, 0, kv_padded * width * sizeof(float));
  if (t.dv != nullptr) __builtin_memset(b.dv, 0, kv_padded * width * sizeof(float));
  for (int64_t head = 0; head < t.q_per_kv; ++head) {
    for (int64_t i0 = 0; i0 < t.q_len; i0 += kTile) {
      const int64_t rows = Least(kTile, t.q_len - i0);
      LoadQueryTile(t, head, i0, rows, width, b);
      const int64_t k_end = VisibleKeys(t, i0 + rows - 1).end;
      for (int64_t k0 = VisibleKeys(t, i0).begin / kTile * kTile; k0 < k_end; k0 += kTile) {
        Tile(t, i0, rows, k0, width, b);
      }
      if (t.dq != nullptr) {
        StoreRows(b.dq, width, rows, t.head_dim, t.scale, t.dq + i0 * t.lddq + head * t.head_dim,
                  t.lddq);
      }
    }
  }
  // The packed queries carry the scale already.
  if (t.dk != nullptr) StoreRows(b.dk, width, t.kv_len, t.head_dim, 1.0f, t.dk, t.lddk);
  if (t.dv != nullptr) StoreRows(b.dv, width, t.kv_len, t.head_dim, 1.0f, t.dv, t.lddv);
}

}  // namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA
