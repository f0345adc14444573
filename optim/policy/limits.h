// What the fields of a policy allow, whatever the model: these limits stand here and nowhere else.
// The reader of configurations asks with file and line at hand; Validate asks for everybody else.
#pragma once

#include <string>
#include <vector>

#include "optim/policy/policy.h"

namespace blockstep {

struct FieldFault {
  std::string field;  // "patience", "phase[1].steps"
  std::string got, expected;
};

// Every field that breaks a limit, in the order of PolicyConfig. Of a script it reads the steps of
// each phase and whether it has entries.
std::vector<FieldFault> CheckLimits(const PolicyConfig& config);

}  // namespace blockstep
