// What a checkpoint keeps of the policy: its state after exactly the reports of the steps below
// one, and the directives issued for that step and beyond.
#pragma once

#include <string>
#include <vector>

#include "core/step/directive.h"

namespace blockstep {

struct PolicySnapshot {
  std::string policy_state;  // Policy::SaveState
  std::vector<Directive> directives;
};

}  // namespace blockstep
