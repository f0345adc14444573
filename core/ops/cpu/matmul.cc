#include "core/ops/matmul.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/ops/cpu/grid.h"
#include "core/ops/cpu/kernels.h"
#include "core/ops/cpu/loops/loops.h"
#include "core/ops/cpu/tile_gemm.h"

namespace blockstep::cpu {
namespace {

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
  if (args.packed_b.data != nullptr) {
    CHECK_EQ(args.packed_b.k, p.k);
    CHECK_EQ(args.packed_b.n, p.n);
  }
  return p;
}

// A matrix of one row may carry any stride; the library wants a valid one.
int64_t Ld(const TensorView& v) { return std::max(v.ld, v.cols); }

// A product that is scaled goes through memory of the thread: the library has fast code for plain
// products and sums only.
void RunScaled(const MatmulArgs& args, TileShape tile, const float* a, const float* b,
               int64_t row) {
  thread_local std::vector<float> product;
  if (static_cast<int64_t>(product.size()) < tile.m * tile.n) product.resize(tile.m * tile.n);
  tile.ldd = tile.n;
  tile.accumulate = Accumulate::kAssign;
  TileGemm::For(tile).Run(a, b, product.data());
  for (int64_t i = 0; i < tile.m; ++i) {
    float* from = product.data() + i * tile.n;
    Loops().scale(from, args.alpha, tile.n);
    if (args.accumulate == Accumulate::kAdd) {
      Loops().add(args.d.f32(row + i), from, tile.n);
    } else {
      std::memcpy(args.d.f32(row + i), from, tile.n * sizeof(float));
    }
  }
}

// How D is split into calls of the library, by its shape alone. It lays out B anew in every call,
// so calls take several row tiles where there is work enough for threads, and so few columns that
// the copy stays in cache. A row has the same bits in a call of one row tile and of several (the
// test RowsDoNotDependOnTheirRange), not in one of less than a tile.
struct Tiling {
  int64_t rows, cols;
};
Tiling TilingOf(const MatmulArgs& args, const Problem& p) {
  constexpr int64_t kItems = 8;
  if (args.trans_a == Transpose::kYes) return {kMatmulRowTile, p.n};  // no faster in taller ones
  const int64_t cols = args.trans_b == Transpose::kYes ? 512 : 256;
  int64_t rows = 256;
  while (rows > kMatmulRowTile && DivCeil(p.m, rows) * DivCeil(p.n, cols) < kItems) rows /= 2;
  return {rows, cols};
}

void RunMatmul(const MatmulArgs& args, const Problem& p, ThreadPool& pool) {
  // The library's code for packed weights writes dense rows only.
  const bool packed = args.packed_b.data != nullptr && Ld(args.d) == p.n;
  const TileShape shape = {.n = p.n,
                           .k = p.k,
                           .lda = Ld(args.a),
                           .ldb = packed ? 0 : Ld(args.b),
                           .ldd = Ld(args.d),
                           .trans_a = args.trans_a,
                           .trans_b = packed ? Transpose::kNo : args.trans_b,
                           .accumulate = args.accumulate,
                           .packed_b = packed};
  const float* b = packed ? static_cast<const float*>(args.packed_b.data) : args.b.f32();
  const bool whole_rows = packed || args.alpha != 1.0f;
  const Tiling tiling = whole_rows ? Tiling{kMatmulRowTile, p.n} : TilingOf(args, p);
  const int64_t panels = DivCeil(p.n, tiling.cols);
  pool.ParallelFor(DivCeil(p.m, tiling.rows) * panels, [&](int64_t item) {
    const int64_t col = item % panels * tiling.cols;
    int64_t row = item / panels * tiling.rows;
    const int64_t end = std::min(p.m, row + tiling.rows);
    TileShape tile = shape;
    tile.n = std::min(tiling.cols, p.n - col);
    const float* b_panel = b + (args.trans_b == Transpose::kYes ? col * shape.ldb : col);
    while (row < end) {  // whole row tiles, then what is left
      tile.m =
          end - row < kMatmulRowTile ? end - row : (end - row) / kMatmulRowTile * kMatmulRowTile;
      const float* a = args.trans_a == Transpose::kYes ? args.a.f32() + row : args.a.f32(row);
      if (args.alpha != 1.0f) {
        RunScaled(args, tile, a, b, row);
      } else {
        TileGemm::For(tile).Run(a, b_panel, args.d.f32(row) + col);
      }
      row += tile.m;
    }
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
  OnHost(stream).Run([args, p, pool = stream.pool()] { RunMatmul(args, p, *pool); });
}

int64_t PackedBytes(const PackWeightArgs& args) {
  const bool trans = args.trans_b == Transpose::kYes;
  return PackedTileBytes(trans ? args.b.cols : args.b.rows, trans ? args.b.rows : args.b.cols);
}

void PackWeight(Stream& stream, const PackWeightArgs& args) {
  const bool trans = args.trans_b == Transpose::kYes;
  OnHost(stream).Run([args, trans] {
    PackTile(args.b.f32(), Ld(args.b), args.trans_b, trans ? args.b.cols : args.b.rows,
             trans ? args.b.rows : args.b.cols, args.out);
  });
}

}  // namespace blockstep::cpu
