// RMSNorm (Zhang & Sennrich 2019) as in Hugging Face's LlamaRMSNorm, with the residual add before
// it:
//   s = x + delta;  rstd = 1 / sqrt(mean(s^2) + eps);  y = s * rstd * weight
#pragma once

#include "core/ops/matmul.h"
#include "core/tensor/tensor_view.h"

namespace blockstep {

struct RmsNormForwardArgs {
  TensorView x;       // (n, C)
  TensorView delta;   // (n, C), or undefined: s = x
  TensorView sum;     // (n, C) = s; may be x itself; undefined: not stored
  TensorView weight;  // (1, C)
  TensorView y;       // (n, C) =; undefined: only sum and rstd
  TensorView rstd;    // (1, n) fp32 =; undefined: not stored
  float eps = 1e-5f;
};

// dx (+)= gradient of s;  dweight (+)= sum over tokens, whose order is the backend's own and for
// one backend the same whatever the threads.
struct RmsNormBackwardArgs {
  TensorView dy;      // (n, C)
  TensorView s;       // (n, C), the normalised input
  TensorView rstd;    // (1, n)
  TensorView weight;  // (1, C)
  TensorView dx;      // (n, C), or undefined: not needed; may not alias dy
  Accumulate dx_accumulate = Accumulate::kAssign;
  TensorView dweight;  // (1, C) fp32, or undefined: not needed
  Accumulate dweight_accumulate = Accumulate::kAssign;
};

}  // namespace blockstep
