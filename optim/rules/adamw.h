// AdamW (Loshchilov & Hutter, 2019): decoupled decay, applied before the update as torch does.
// Decay is for matrices (TensorInfo::decay arrives as UpdateArgs::decay) or, with DecayOn::kAll,
// for every tensor.
#pragma once

#include "core/step/update_rule.h"
#include "optim/rules/rules.h"

namespace blockstep {

class AdamW : public UpdateRule {
 public:
  explicit AdamW(const RuleHyper& hyper) : hyper_(hyper) {}
  std::string_view name() const override { return "adamw"; }
  // m, v: fp32, like the tensor.
  std::vector<StateSpec> States(const TensorInfo& tensor) const override;
  void Update(const KernelTable& kernels, Stream& stream, const UpdateArgs& args) const override;
  bool has_direction() const override { return true; }
  void MeasureDirection(const KernelTable& kernels, Stream& stream, const UpdateArgs& args,
                        ExactSum* sum) const override;

 private:
  RuleHyper hyper_;
};

}  // namespace blockstep
