// Every tensor trains at every step: one directive, one phase.
#pragma once

#include "optim/policy/policy.h"

namespace blockstep {

class FullPolicy : public Policy {
 public:
  FullPolicy(const PolicyConfig& config, const TensorTable& table);
  std::string_view name() const override { return "full"; }
  std::vector<Directive> Start() override { return {directive_}; }
  std::vector<Directive> OnReport(const StepReport&) override { return {}; }
  std::string SaveState() const override;
  absl::Status LoadState(std::string_view state) override;
  std::vector<Directive> Continue(int64_t, std::vector<Directive>) override { return {directive_}; }

 private:
  Directive directive_;
};

}  // namespace blockstep
