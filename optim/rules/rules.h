// Update rules by name.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/step/update_rule.h"

namespace blockstep {

struct RuleHyper {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;
};

std::vector<std::string> KnownRules();

// The rule `name`; an error lists every field that is out of range, or the known names.
absl::StatusOr<std::unique_ptr<UpdateRule>> MakeRule(std::string_view name, const RuleHyper& hyper);

}  // namespace blockstep
