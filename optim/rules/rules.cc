#include "optim/rules/rules.h"

#include <cmath>

#include "core/base/faults.h"
#include "core/base/nearest.h"
#include "optim/rules/adamw.h"

namespace blockstep {

std::vector<std::string> KnownRules() { return {"adamw"}; }

absl::StatusOr<std::unique_ptr<UpdateRule>> MakeRule(std::string_view name,
                                                     const RuleHyper& hyper) {
  Faults faults;
  const auto beta = [&](const std::string& field, double value) {
    faults.Require(value >= 0 && value < 1, field, value, "a value in [0, 1)");
  };
  beta("beta1", hyper.beta1);
  beta("beta2", hyper.beta2);
  faults.Require(hyper.eps > 0 && std::isfinite(hyper.eps), "eps", hyper.eps,
                 "a finite number > 0");
  faults.Require(hyper.weight_decay >= 0 && std::isfinite(hyper.weight_decay), "weight_decay",
                 hyper.weight_decay, "a finite number >= 0");
  if (name != "adamw") {
    faults.Add("", Cat("unknown update rule \"", name, "\"; expected one of ",
                       KnownNames(name, KnownRules())));
  }
  RETURN_IF_ERROR(faults.status());
  return std::make_unique<AdamW>(hyper);
}

}  // namespace blockstep
