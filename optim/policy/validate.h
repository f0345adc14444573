// A policy's configuration before anything is built from it: its fields by themselves, and against
// the model.
#pragma once

#include "core/base/faults.h"
#include "optim/policy/policy.h"

namespace blockstep {

// What fields allow, whatever the model: these limits stand here and nowhere else. The reader of
// configurations asks with file and line at hand; Validate asks for everybody else. In the order of
// PolicyConfig. Of a script, the steps of each phase are read, and whether it has entries.
Faults CheckLimits(const PolicyConfig& config);

// Every contradiction, one per line, by field name.
absl::Status Validate(const PolicyConfig& config, const TensorTable& table);

}  // namespace blockstep
