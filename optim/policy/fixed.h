// Policies that no report changes: all directives are known at the start.
#pragma once

#include "optim/policy/policy.h"

namespace blockstep {

// Every tensor trains at every step: one directive, one phase.
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

// Replays a list of active sets with step counts, one phase each: how recorded runs of other code
// are reproduced. A script longer than the run ends at the last step of the run.
class ScriptedPolicy : public Policy {
 public:
  explicit ScriptedPolicy(const PolicyConfig& config) : config_(config) {}
  std::string_view name() const override { return "scripted"; }
  std::vector<Directive> Start() override;
  std::vector<Directive> OnReport(const StepReport&) override { return {}; }
  std::string SaveState() const override;
  absl::Status LoadState(std::string_view state) override;
  std::vector<Directive> Continue(int64_t step, std::vector<Directive> issued) override;

 private:
  PolicyConfig config_;
};

}  // namespace blockstep
