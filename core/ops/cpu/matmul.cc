#include "core/ops/matmul.h"

#include <algorithm>

#include "core/ops/cpu/grid.h"
#include "core/ops/cpu/kernels.h"
#include "core/ops/cpu/tile_gemm.h"

namespace blockstep::cpu {
namespace {

// Columns of D per item: wide products are cut so that the part of B that an item reads stays in a
// core's cache while row tiles pass by. Fixed, so that no shape of a call chooses it.
constexpr int64_t kColumnTile = 2048;

const float* At(const TensorView& v, int64_t row, int64_t col) { return v.f32(row) + col; }

struct Problem {
  int64_t m, n, k;
};
Problem CheckMatmul(const MatmulArgs& args) {
  const bool ta = args.trans_a == Transpose::kYes, tb = args.trans_b == Transpose::kYes;
  const Problem p = {args.d.rows, args.d.cols, ta ? args.a.rows : args.a.cols};
  CHECK_EQ(ta ? args.a.cols : args.a.rows, p.m);
  CHECK_EQ(tb ? args.b.cols : args.b.rows, p.k);
  CHECK_EQ(tb ? args.b.rows : args.b.cols, p.n);
  CHECK_EQ(args.first_row % kMatmulRowTile, 0);
  if (args.packed_b != nullptr) {
    CHECK_EQ(args.packed_b->k, p.k);
    CHECK_EQ(args.packed_b->n, p.n);
  }
  return p;
}

// A matrix of one row may carry any stride; the library wants a valid one.
int64_t Ld(const TensorView& v) { return std::max(v.ld, v.cols); }

void RunMatmul(const MatmulArgs& args, const Problem& p, ThreadPool& pool) {
  TileShape shape = {.k = p.k,
                     .lda = Ld(args.a),
                     .ldb = args.packed_b != nullptr ? 0 : Ld(args.b),
                     .ldd = Ld(args.d),
                     .trans_a = args.trans_a,
                     .trans_b = args.packed_b != nullptr ? Transpose::kNo : args.trans_b,
                     .accumulate = args.accumulate,
                     .alpha = args.alpha,
                     .packed_b = args.packed_b != nullptr};
  const int64_t row_tiles = DivCeil(p.m, kMatmulRowTile), col_tiles = DivCeil(p.n, kColumnTile);
  const int64_t full_bytes =
      shape.packed_b && col_tiles > 1 ? PackedTileBytes(p.k, kColumnTile) : 0;
  // Column tiles outermost: neighbours in time share a part of B.
  pool.ParallelFor(row_tiles * col_tiles, [&](int64_t item) {
    const int64_t row = item % row_tiles * kMatmulRowTile, col = item / row_tiles * kColumnTile;
    TileShape tile = shape;
    tile.m = std::min(kMatmulRowTile, p.m - row);
    tile.n = std::min(kColumnTile, p.n - col);
    const float* a = args.trans_a == Transpose::kYes ? At(args.a, 0, row) : At(args.a, row, 0);
    const float* b =
        tile.packed_b
            ? reinterpret_cast<const float*>(static_cast<const char*>(args.packed_b->data) +
                                             col / kColumnTile * full_bytes)
        : args.trans_b == Transpose::kYes ? At(args.b, col, 0)
                                          : At(args.b, 0, col);
    TileGemm::For(tile).Run(a, b, args.d.f32(row) + col);
  });
}

}  // namespace

void Matmul(Stream& stream, const MatmulArgs& args) {
  const Problem p = CheckMatmul(args);
  if (p.m == 0 || p.n == 0) return;
  if (p.k == 0) {  // an empty sum
    if (args.accumulate == Accumulate::kAssign) Fill(stream, {.dst = args.d, .value = 0.0f});
    return;
  }
  // The packed weight is a small struct of the caller's; the copy outlives the call.
  const PackedWeight packed = args.packed_b != nullptr ? *args.packed_b : PackedWeight{};
  stream.Run([args, packed, p, pool = stream.pool()] {
    MatmulArgs mine = args;
    if (args.packed_b != nullptr) mine.packed_b = &packed;
    RunMatmul(mine, p, *pool);
  });
}

int64_t PackedBytes(const PackWeightArgs& args) {
  const bool trans = args.trans_b == Transpose::kYes;
  const int64_t k = trans ? args.b.cols : args.b.rows, n = trans ? args.b.rows : args.b.cols;
  const int64_t whole = n / kColumnTile, rest = n % kColumnTile;
  return (whole > 0 ? whole * PackedTileBytes(k, kColumnTile) : 0) +
         (rest > 0 ? PackedTileBytes(k, rest) : 0);
}

void PackWeight(Stream& stream, const PackWeightArgs& args) {
  const bool trans = args.trans_b == Transpose::kYes;
  const int64_t k = trans ? args.b.cols : args.b.rows, n = trans ? args.b.rows : args.b.cols;
  stream.Run([args, trans, k, n, pool = stream.pool()] {
    const int64_t full_bytes = n > kColumnTile ? PackedTileBytes(k, kColumnTile) : 0;
    pool->ParallelFor(DivCeil(n, kColumnTile), [&](int64_t tile) {
      const int64_t col = tile * kColumnTile;
      PackTile(trans ? At(args.b, col, 0) : At(args.b, 0, col), Ld(args.b), args.trans_b, k,
               std::min(kColumnTile, n - col), static_cast<char*>(args.out) + tile * full_bytes);
    });
  });
}

}  // namespace blockstep::cpu
