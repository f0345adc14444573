// Squared norm of a gradient, independent of how it is split: one double sum per quantum of 256
// elements (the view starts on a quantum), each added to an ExactSum.
#pragma once

#include "core/base/exact_sum.h"
#include "core/tensor/tensor_view.h"

namespace blockstep {

struct SquaredNormArgs {
  TensorView x;             // (rows, cols) contiguous
  ExactSum* sum = nullptr;  // += ; a quantum with a non-finite element adds to sum->bad only
};

}  // namespace blockstep
