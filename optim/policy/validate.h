// A policy's configuration against the model, before anything is built from it.
#pragma once

#include "optim/policy/policy.h"

namespace blockstep {

// Every contradiction, one per line, by field name.
absl::Status Validate(const PolicyConfig& config, const TensorTable& table);

}  // namespace blockstep
