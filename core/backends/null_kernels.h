// Ops of the null backend: no memory is touched, costs are counted.
#pragma once

#include "core/ops/kernel_table.h"

namespace blockstep {

const KernelTable& NullKernels();

}  // namespace blockstep
