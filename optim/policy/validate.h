// A policy's configuration before anything is built from it: its fields by themselves, and against
// the model.
#pragma once

#include <string>
#include <vector>

#include "optim/policy/policy.h"

namespace blockstep {

// What fields allow, whatever the model: these limits stand here and nowhere else. The reader of
// configurations asks with file and line at hand; Validate asks for everybody else.
struct FieldFault {
  std::string field;  // "patience", "phase[1].steps"
  std::string got, expected;
};

// Every field that breaks a limit, in the order of PolicyConfig. Of a script it reads the steps of
// each phase and whether it has entries.
std::vector<FieldFault> CheckLimits(const PolicyConfig& config);

// Every contradiction, one per line, by field name.
absl::Status Validate(const PolicyConfig& config, const TensorTable& table);

}  // namespace blockstep
