// BAdam (arXiv 2404.02827): one block learns for K steps, then the next one; a cycle of D phases
// visits each of the D blocks once. Every phase has K steps, the first too (the published code
// gives that one K-1). Phases are known ahead and issued a few at a time.
#pragma once

#include "optim/policy/blocks.h"
#include "optim/policy/policy.h"

namespace blockstep {

class BadamPolicy : public Policy {
 public:
  // Phases issued beyond the one that runs: bounds what a directive stream holds in a long run.
  static constexpr int64_t kPhasesAhead = 16;

  BadamPolicy(const PolicyConfig& config, const TensorTable& table);
  std::string_view name() const override { return "badam"; }
  std::vector<Directive> Start() override { return IssueThrough(0); }
  std::vector<Directive> OnReport(const StepReport& report) override;
  std::string SaveState() const override;
  absl::Status LoadState(std::string_view state) override;
  std::vector<Directive> Continue(int64_t step, std::vector<Directive> issued) override;

  // Index into BadamBlocks of the block of `phase`: a pure function of seed and phase.
  size_t BlockOf(int64_t phase) const;

 private:
  // Phases not yet issued, up to those that must be known while `step` runs.
  std::vector<Directive> IssueThrough(int64_t step);

  PolicyConfig config_;
  std::vector<BadamBlock> blocks_;
  int64_t next_phase_ = 0;
};

}  // namespace blockstep
