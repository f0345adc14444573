// out = silu(gate) * up, silu(x) = x / (1 + exp(-x)).
#pragma once

#include "core/tensor/tensor_view.h"

namespace blockstep {

struct SwiGluForwardArgs {
  TensorView gate, up;  // (n, I)
  TensorView out;       // (n, I) =; may be gate or up
};

struct SwiGluBackwardArgs {
  TensorView gate, up;    // (n, I) forward inputs
  TensorView dout;        // (n, I)
  TensorView dgate, dup;  // (n, I) =; either may be undefined; may alias gate, up or dout
};

}  // namespace blockstep
