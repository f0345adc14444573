// Memory the program needs before any model: measured on a tiny one.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

namespace blockstep {

// Peak resident bytes of a process that trains two steps of a model of 30 thousand parameters, with
// coordinator, checkpoint and `ranks` ranks of `threads` threads: another process of this program,
// run to its end in a temporary folder. What a process takes beyond its plan.
absl::StatusOr<int64_t> EmptyRunPeak(int ranks, int threads);

}  // namespace blockstep
