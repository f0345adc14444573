// Forward of one (slot, key/value head): online softmax over key tiles (FlashAttention).
#include "core/ops/cpu/loops/attention.h"

namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA {
namespace {

struct RowState {
  float max[kTile], sum[kTile];
};

// Row r of S (64 scores of the tile at k0) becomes exp(S - max); the state and O's row are
// rescaled.
BLOCKSTEP_NOINLINE void SoftmaxRow(Visible keys, int64_t k0, int64_t columns, int r,
                                   RowState& state, float* s, float* o, int64_t width) {
  const int64_t begin = Most(keys.begin - k0, 0), end = Least(keys.end - k0, columns);
  if (begin >= end) {
    __builtin_memset(s, 0, columns * sizeof(float));
    return;
  }
  for (int64_t c = 0; c < begin; ++c) s[c] = -__builtin_inff();
  for (int64_t c = end; c < columns; ++c) s[c] = -__builtin_inff();
  F32x16 m = Load(s);
  for (int64_t c = kWidth; c < columns; c += kWidth) m = Max(m, Load(s + c));
  const float tile_max = MaxLanes(m);
  const float max = tile_max > state.max[r] ? tile_max : state.max[r];
  const F32x16 shift = Set(max);
  F32x16 sum = Set(0.0f);
  for (int64_t c = 0; c < columns; c += kWidth) {
    const F32x16 e = Exp(Load(s + c) - shift);
    Store(s + c, e);
    sum = sum + e;
  }
  if (max != state.max[r]) {
    // exp(-inf) is 0 for the first tile of a row.
    float lanes[kWidth];
    Store(lanes, Exp(Set(state.max[r] - max)));
    const F32x16 alpha = Set(lanes[0]);
    for (int64_t c = 0; c < width; c += kWidth) Store(o + c, Load(o + c) * alpha);
    state.sum[r] *= lanes[0];
    state.max[r] = max;
  }
  state.sum[r] += SumLanes(sum);
}

}  // namespace

void AttentionForward(const AttentionTask& t) {
  const int64_t width = Up(t.head_dim, kWidth), kv_padded = Up(t.kv_len, kTile);
  float* kt = t.scratch;
  float* v = kt + kv_padded * width;
  float* q = v + kv_padded * width;
  float* o = q + kTile * width;
  float* s = o + kTile * width;
  PackTransposed(t.k, t.ldk, t.kv_len, t.head_dim, kt, width);
  PackRows(t.v, t.ldv, t.kv_len, t.head_dim, 1.0f, v, kv_padded, width);

  for (int64_t head = 0; head < t.q_per_kv; ++head) {
    for (int64_t i0 = 0; i0 < t.q_len; i0 += kTile) {
      const int64_t rows = Least(kTile, t.q_len - i0);
      PackRows(t.q + i0 * t.ldq + head * t.head_dim, t.ldq, rows, t.head_dim, t.scale, q, kTile,
               width);
      __builtin_memset(o, 0, kTile * width * sizeof(float));
      RowState state;
      for (int r = 0; r < kTile; ++r) {
        state.max[r] = -__builtin_inff();
        state.sum[r] = 0.0f;
      }
      const int64_t k_end = VisibleKeys(t, i0 + rows - 1).end;
      for (int64_t k0 = VisibleKeys(t, i0).begin / kTile * kTile; k0 < k_end; k0 += kTile) {
        for (int64_t r0 = 0; r0 < rows; r0 += 8) {
          const int64_t columns = ColumnsOf(t, i0 + r0, k0);
          if (columns == 0) continue;
          GemmBlock(8, columns, width, {q + r0 * width, width, 1}, kt + k0 * width, kTile,
                    s + r0 * kTile, kTile, false);
          for (int64_t r = r0; r < Least(r0 + 8, rows); ++r) {
            SoftmaxRow(VisibleKeys(t, i0 + r), k0, columns, static_cast<int>(r), state,
                       s + r * kTile, o + r * width, width);
          }
          GemmBlock(8, width, columns, {s + r0 * kTile, kTile, 1}, v + k0 * width, width,
                    o + r0 * width, width, true);
        }
      }
      for (int64_t r = 0; r < rows; ++r) {
        const F32x16 inverse = Set(1.0f / state.sum[r]);
        float* out = t.out + (i0 + r) * t.ldo + head * t.head_dim;
        int64_t c = 0;
        for (; c + kWidth <= t.head_dim; c += kWidth) {
          Store(out + c, Load(o + r * width + c) * inverse);
        }
        if (c < t.head_dim) StorePart(out + c, Load(o + r * width + c) * inverse, t.head_dim - c);
        if (t.lse != nullptr) {
          t.lse[(i0 + r) * t.ldl + head] = state.max[r] + __builtin_logf(state.sum[r]);
        }
      }
    }
  }
}

}  // namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA
