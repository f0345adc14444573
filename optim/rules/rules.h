// Update rules by name.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/step/update_rule.h"

namespace blockstep {

// Which tensors weight decay shrinks: those with TensorInfo::decay, which norms have not, or every
// parameter, as torch.optim.AdamW does when it is given all of them in one group.
enum class DecayOn : uint8_t { kMatrices, kAll };

struct RuleHyper {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;
  DecayOn decay_on = DecayOn::kMatrices;
};

std::vector<std::string> KnownRules();

// The rule `name`; an error lists every field that is out of range, or the known names.
absl::StatusOr<std::unique_ptr<UpdateRule>> MakeRule(std::string_view name, const RuleHyper& hyper);

}  // namespace blockstep
