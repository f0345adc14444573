// Where the model puts finished gradients. Per micro-step and active entry: Target, then writes on
// the compute stream, then Done. Same order of calls on every rank: Done may issue a collective.
#pragma once

#include "absl/status/status.h"
#include "core/device/stream.h"
#include "core/ops/matmul.h"
#include "core/step/active_set.h"

namespace blockstep {

struct GradTarget {
  TensorView dw;                                // (entry.rows, cols) fp32
  Accumulate accumulate = Accumulate::kAssign;  // how the first write of this micro-step combines
};

class GradSink {
 public:
  virtual ~GradSink() = default;
  // `entry` is an index into the active set's entries.
  virtual GradTarget Target(int entry) = 0;
  // The entry's dW of this micro-step is complete in `compute`'s order; nothing writes it after.
  virtual absl::Status Done(int entry, Stream& compute) = 0;
};

}  // namespace blockstep
