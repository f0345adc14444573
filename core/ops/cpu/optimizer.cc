#include "core/ops/optimizer.h"

#include <cmath>

#include "core/ops/cpu/grid.h"
#include "core/ops/cpu/kernels.h"
#include "core/ops/cpu/loops/loops.h"

namespace blockstep::cpu {

void AdamW(Stream& stream, const AdamWArgs& args) {
  for (const TensorView& v : {args.grad, args.m, args.v}) {
    CheckShape(v, args.param.rows, args.param.cols);
  }
  CHECK_GE(args.step, 1);
  OnHost(stream).Run([args, pool = stream.pool()] {
    // Scalars in double, rounded once.
    const double beta1 = args.beta1, beta2 = args.beta2, t = static_cast<double>(args.step);
    const AdamWScalars s = {
        .grad_scale = args.grad_scale != nullptr ? *args.grad_scale : 1.0f,
        .decay = static_cast<float>(1.0 - double{args.lr} * args.weight_decay),
        .beta1 = args.beta1,
        .one_minus_beta1 = static_cast<float>(1.0 - beta1),
        .beta2 = args.beta2,
        .one_minus_beta2 = static_cast<float>(1.0 - beta2),
        .step_size = static_cast<float>(args.lr / (1.0 - std::pow(beta1, t))),
        .inv_sqrt_bias2 = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(beta2, t))),
        .eps = args.eps,
    };
    ForSpans(*pool, {args.param, args.grad, args.m, args.v},
             [&](int64_t row, int64_t col, int64_t n) {
               Loops().adamw(s, args.param.f32(row) + col, args.grad.f32(row) + col,
                             args.m.f32(row) + col, args.v.f32(row) + col, n);
             });
  });
}

}  // namespace blockstep::cpu
