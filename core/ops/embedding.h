// Rows of a table by token id.
#pragma once

#include "core/ops/matmul.h"
#include "core/tensor/tensor_view.h"

namespace blockstep {

struct EmbeddingForwardArgs {
  TensorView table;              // (V, C)
  const int32_t* ids = nullptr;  // (n), each in [0, V)
  TensorView out;                // (n, C) =
};

// dtable[id - first_row] += dout[i] for ids in [first_row, first_row + dtable.rows); kAssign zeroes
// dtable first. The order of an element's tokens is the backend's own, and for one backend the same
// whatever the threads.
struct EmbeddingBackwardArgs {
  TensorView dout;               // (n, C)
  const int32_t* ids = nullptr;  // (n)
  TensorView dtable;             // (rows, C) fp32
  int64_t first_row = 0;
  Accumulate accumulate = Accumulate::kAssign;
};

}  // namespace blockstep
