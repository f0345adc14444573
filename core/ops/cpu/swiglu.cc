#include "core/ops/swiglu.h"

#include "core/ops/cpu/grid.h"
#include "core/ops/cpu/kernels.h"
#include "core/ops/cpu/loops/loops.h"

namespace blockstep::cpu {

void SwiGluForward(Stream& stream, const SwiGluForwardArgs& args) {
  CheckShape(args.up, args.gate.rows, args.gate.cols);
  CheckShape(args.out, args.gate.rows, args.gate.cols);
  OnHost(stream).Run([args, pool = stream.pool()] {
    ForSpans(*pool, {args.gate, args.up, args.out}, [&](int64_t row, int64_t col, int64_t n) {
      Loops().swiglu(args.gate.f32(row) + col, args.up.f32(row) + col, args.out.f32(row) + col, n);
    });
  });
}

void SwiGluBackward(Stream& stream, const SwiGluBackwardArgs& args) {
  CheckShape(args.up, args.gate.rows, args.gate.cols);
  CheckShape(args.dout, args.gate.rows, args.gate.cols);
  // A gradient that is not wanted takes no part in the grid.
  const TensorView dgate = args.dgate.defined() ? args.dgate : args.dout;
  const TensorView dup = args.dup.defined() ? args.dup : args.dout;
  CheckShape(dgate, args.gate.rows, args.gate.cols);
  CheckShape(dup, args.gate.rows, args.gate.cols);
  OnHost(stream).Run([args, dgate, dup, pool = stream.pool()] {
    ForSpans(*pool, {args.gate, args.up, args.dout, dgate, dup},
             [&](int64_t row, int64_t col, int64_t n) {
               Loops().swiglu_backward(args.gate.f32(row) + col, args.up.f32(row) + col,
                                       args.dout.f32(row) + col,
                                       args.dgate.defined() ? dgate.f32(row) + col : nullptr,
                                       args.dup.defined() ? dup.f32(row) + col : nullptr, n);
             });
  });
}

}  // namespace blockstep::cpu
