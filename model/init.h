// Fresh weights. A value is a pure function of (seed, tensor, element), so every rank fills the
// rows it owns and no number of ranks shows.
#pragma once

#include <cstdint>

#include "core/base/math.h"
#include "core/tensor/tensor_table.h"

namespace blockstep {

struct InitArgs {
  uint64_t seed = 0;
  double range = 0.02;  // standard deviation of matrices: LlamaConfig::init_range
};

// Rows [begin, end) of table.tensors[tensor] into out (rows, cols) fp32 host memory, =. Matrices
// are normal(0, range), not truncated, as in transformers; norms are ones.
void InitRows(const TensorTable& table, int tensor, Range rows, const InitArgs& args, float* out);

}  // namespace blockstep
