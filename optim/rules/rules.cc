#include "optim/rules/rules.h"

#include <cmath>

#include "core/base/nearest.h"
#include "core/base/status.h"
#include "optim/rules/adamw.h"

namespace blockstep {

std::vector<std::string> KnownRules() { return {"adamw"}; }

absl::StatusOr<std::unique_ptr<UpdateRule>> MakeRule(std::string_view name,
                                                     const RuleHyper& hyper) {
  std::string wrong;
  const auto beta = [&](std::string_view field, double value) {
    if (!(value >= 0 && value < 1))
      wrong += Cat(field, ": expected a value in [0, 1), got ", value, "\n");
  };
  beta("beta1", hyper.beta1);
  beta("beta2", hyper.beta2);
  if (!(hyper.eps > 0) || !std::isfinite(hyper.eps)) {
    wrong += Cat("eps: expected a finite number > 0, got ", hyper.eps, "\n");
  }
  if (!(hyper.weight_decay >= 0) || !std::isfinite(hyper.weight_decay)) {
    wrong += Cat("weight_decay: expected a finite number >= 0, got ", hyper.weight_decay, "\n");
  }
  if (name != "adamw") {
    wrong +=
        Cat("unknown update rule \"", name, "\"; expected one of ", KnownNames(name, KnownRules()));
  }
  if (wrong.empty()) return std::make_unique<AdamW>(hyper);
  wrong.pop_back();
  return absl::InvalidArgumentError(wrong);
}

}  // namespace blockstep
