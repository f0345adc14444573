#include "core/ops/norm.h"

#include "core/ops/cpu/grid.h"
#include "core/ops/cpu/kernels.h"
#include "core/ops/cpu/loops/loops.h"

namespace blockstep::cpu {
namespace {

// Columns per item of the weight gradient: each walks all tokens in ascending order.
constexpr int64_t kStrip = 64;

float* RowOrNull(const TensorView& v, int64_t row) { return v.defined() ? v.f32(row) : nullptr; }

}  // namespace

void RmsNormForward(Stream& stream, const RmsNormForwardArgs& args) {
  const int64_t n = args.x.rows, cols = args.x.cols;
  for (const TensorView& v : {args.delta, args.sum, args.y}) {
    if (v.defined()) CheckShape(v, n, cols);
  }
  if (args.y.defined()) CHECK_EQ(args.weight.size(), cols);
  if (args.rstd.defined()) CHECK_EQ(args.rstd.size(), n);
  OnHost(stream).Run([args, n, cols, pool = stream.pool()] {
    const float* weight = RowOrNull(args.weight, 0);
    ForRows(*pool, n, cols, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float rstd =
            Loops().norm_row(args.x.f32(i), RowOrNull(args.delta, i), RowOrNull(args.sum, i),
                             weight, RowOrNull(args.y, i), cols, args.eps);
        if (args.rstd.defined()) args.rstd.f32()[i] = rstd;
      }
    });
  });
}

void RmsNormBackward(Stream& stream, const RmsNormBackwardArgs& args) {
  const int64_t n = args.dy.rows, cols = args.dy.cols;
  CheckShape(args.s, n, cols);
  CHECK_EQ(args.rstd.size(), n);
  if (args.dx.defined()) {
    CheckShape(args.dx, n, cols);
    CHECK_EQ(args.weight.size(), cols);
    CHECK_NE(args.dx.data, args.dy.data);
  }
  if (args.dweight.defined()) CHECK_EQ(args.dweight.size(), cols);
  OnHost(stream).Run([args, n, cols, pool = stream.pool()] {
    const float* rstd = args.rstd.f32();
    // The weight's gradient first: dx may be s.
    if (args.dweight.defined()) {
      const int add = args.dweight_accumulate == Accumulate::kAdd;
      pool->ParallelFor(DivCeil(cols, kStrip), [&](int64_t strip) {
        const int64_t col = strip * kStrip;
        Loops().norm_weight_grad(args.dy.f32() + col, args.dy.ld, args.s.f32() + col, args.s.ld,
                                 rstd, n, std::min(kStrip, cols - col), args.dweight.f32() + col,
                                 add);
      });
    }
    if (args.dx.defined()) {
      const int add = args.dx_accumulate == Accumulate::kAdd;
      ForRows(*pool, n, cols, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          Loops().norm_backward_row(args.dy.f32(i), args.s.f32(i), args.weight.f32(), rstd[i],
                                    args.dx.f32(i), cols, add);
        }
      });
    }
  });
}

}  // namespace blockstep::cpu
