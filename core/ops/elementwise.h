// Copies and sums of views of equal shape.
#pragma once

#include "core/tensor/tensor_view.h"

namespace blockstep {

struct AddArgs {
  TensorView src;  // (rows, cols)
  TensorView dst;  // += src
};
struct CopyArgs {
  TensorView src;
  TensorView dst;  // = src
};
struct FillArgs {
  TensorView dst;  // = value
  float value = 0;
};

}  // namespace blockstep
