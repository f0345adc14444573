#include "core/ops/embedding.h"

#include <cstring>

#include "core/ops/cpu/grid.h"
#include "core/ops/cpu/kernels.h"
#include "core/ops/cpu/loops/loops.h"

namespace blockstep::cpu {
namespace {

// An item of the backward pass is a strip of columns and walks all tokens, so every element adds in
// ascending token order.
constexpr int64_t kStrip = 64;

}  // namespace

void EmbeddingForward(Stream& stream, const EmbeddingForwardArgs& args) {
  CheckShape(args.table, args.table.rows, args.out.cols);
  OnHost(stream).Run([args, pool = stream.pool()] {
    ForRows(*pool, args.out.rows, args.out.cols, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t id = args.ids[i];
        CHECK_LE(0, id);
        CHECK_LT(id, args.table.rows);
        std::memcpy(args.out.f32(i), args.table.f32(id), args.out.cols * sizeof(float));
      }
    });
  });
}

void EmbeddingBackward(Stream& stream, const EmbeddingBackwardArgs& args) {
  CheckShape(args.dout, args.dout.rows, args.dtable.cols);
  CheckShape(args.dtable, args.dtable.rows, args.dout.cols);
  OnHost(stream).Run([args, pool = stream.pool()] {
    const CpuLoops& loops = Loops();
    if (args.accumulate == Accumulate::kAssign) {
      ForSpans(*pool, {args.dtable}, [&](int64_t row, int64_t col, int64_t n) {
        loops.fill(args.dtable.f32(row) + col, 0.0f, n);
      });
    }
    pool->ParallelFor(DivCeil(args.dtable.cols, kStrip), [&](int64_t strip) {
      const int64_t col = strip * kStrip, n = std::min(kStrip, args.dtable.cols - col);
      for (int64_t i = 0; i < args.dout.rows; ++i) {
        const int64_t row = args.ids[i] - args.first_row;
        if (row < 0 || row >= args.dtable.rows) continue;
        loops.add(args.dtable.f32(row) + col, args.dout.f32(i) + col, n);
      }
    });
  });
}

}  // namespace blockstep::cpu
