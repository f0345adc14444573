// The CPU kernels with every GEMM counted by what it is for: forward is x W^T, dX is dy W, dW is
// dy^T x, told apart by the transposes.
#pragma once

#include "core/backends/backends.h"

namespace blockstep::testing {

struct GemmTally {
  int64_t forward = 0, dx = 0, dw = 0;                    // calls
  int64_t forward_flops = 0, dx_flops = 0, dw_flops = 0;  // 2 M N K
};

inline GemmTally& Tally() {
  static GemmTally tally;
  return tally;
}

// On top of `base`, cpu's or null's.
inline KernelTable CountingKernels(const KernelTable& base) {
  static Op<MatmulArgs> matmul = nullptr;
  matmul = base.matmul;
  KernelTable table = base;
  table.matmul = [](Stream& stream, const MatmulArgs& args) {
    GemmTally& t = Tally();
    const int64_t k = args.trans_a == Transpose::kYes ? args.a.rows : args.a.cols;
    const int64_t flops = 2 * args.d.rows * args.d.cols * k;
    const bool dw = args.trans_a == Transpose::kYes;
    const bool forward = args.trans_b == Transpose::kYes;
    ++(dw ? t.dw : forward ? t.forward : t.dx);
    (dw ? t.dw_flops : forward ? t.forward_flops : t.dx_flops) += flops;
    matmul(stream, args);
  };
  return table;
}

}  // namespace blockstep::testing
