// AdamW (Loshchilov & Hutter 2019), torch order: decay before the update.
//   g' = g * grad_scale;  p *= 1 - lr*wd;  m = b1 m + (1-b1) g';  v = b2 v + (1-b2) g'^2
//   p -= lr / (1-b1^t) * m / (sqrt(v / (1-b2^t)) + eps)
#pragma once

#include "core/base/exact_sum.h"
#include "core/tensor/tensor_view.h"

namespace blockstep {

struct AdamWArgs {
  TensorView param;  // (rows, cols) in place
  TensorView grad;   // (rows, cols) fp32
  TensorView m, v;   // (rows, cols) in place
  float lr = 0, beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f, weight_decay = 0;
  int64_t step = 1;  // t of this entry, from 1
  // Read on the device when the op runs: grad is multiplied by it (mean over tokens, clipping).
  const float* grad_scale = nullptr;
};

// Squared norm of the direction M / sqrt(V + eps) that moments point in (BlockLLM's processed
// gradient): M = m / (1-b1^t), V = v / (1-b2^t), bias-corrected as in the step above; eps under the
// root, as the paper prints it. Summed like SquaredNorm, so that it does not depend on the split.
struct AdamNormArgs {
  TensorView m, v;  // (rows, cols) contiguous, starting on a quantum
  float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
  int64_t step = 1;         // t, as in the update that wrote m and v
  ExactSum* sum = nullptr;  // += ; a quantum with a non-finite term adds to sum->bad only
};

}  // namespace blockstep
