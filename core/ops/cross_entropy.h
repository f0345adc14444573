// Softmax cross-entropy of a chunk of tokens, gradient in place over the logits:
//   loss[i] = logsumexp(logits[i]) - logits[i][target[i]]
//   logits[i] = (softmax(logits[i]) - onehot(target[i])) * grad_scale        (if asked for)
// Tokens with target < 0 have loss 0 and gradient 0 and do not count.
#pragma once

#include "core/tensor/tensor_view.h"

namespace blockstep {

enum class CrossEntropyGrad : uint8_t { kNone, kInPlace };

struct CrossEntropyArgs {
  TensorView logits;                 // (n, V)
  const int32_t* targets = nullptr;  // (n)
  float* loss = nullptr;             // (n) =
  float grad_scale = 1.0f;
  CrossEntropyGrad grad = CrossEntropyGrad::kInPlace;
};

}  // namespace blockstep
