// A policy that begins at a later step: for a run that goes on under another policy, whose state
// of before says nothing. To the policy inside, that step is 0.
#pragma once

#include "optim/policy/policy.h"

namespace blockstep {

struct PolicyShift {
  int64_t steps = 0;   // the first step of the policy inside
  int64_t phases = 0;  // its first phase
};

// As MakePolicy; a state that was saved under another shift brings its own with it.
absl::StatusOr<std::unique_ptr<Policy>> MakeShiftedPolicy(const PolicyConfig& config,
                                                          const TensorTable& table,
                                                          PolicyShift shift = {});

}  // namespace blockstep
