// Rank 0's source: the coordinator's directives, and beside them a policy of its own that gets the
// same reports. Policies are pure, so both stand at the same place: a checkpoint takes the policy's
// state from here without asking anyone, also when the coordinator is gone, and a coordinator that
// decides otherwise (other arithmetic on its host) is found out at the step where it does.
#pragma once

#include <memory>

#include "launcher/coordinator/decisions.h"

namespace blockstep {

class LeaderSource : public DirectiveSource {
 public:
  // `resume`: null for a run that starts at step 0. `source` outlives this object.
  static absl::StatusOr<std::unique_ptr<LeaderSource>> Create(DirectiveSource* source,
                                                              PolicyFactory make_policy,
                                                              int64_t resume_step,
                                                              const PolicySnapshot* resume);

  // FAILED_PRECONDITION: the coordinator's directive is not the one that the reports lead to.
  absl::StatusOr<Directive> Await(int64_t step) override;
  // Null, too, where Await will refuse: ranks that have compared a directive all follow it.
  const Directive* TryAwait(int64_t step) override;
  absl::Status Report(const StepReport& report) override;

  // After Report of step - 1: what a checkpoint whose next step is `step` keeps.
  absl::StatusOr<PolicySnapshot> Snapshot(int64_t step) const { return own_->Snapshot(step); }

 private:
  LeaderSource(DirectiveSource* source, std::unique_ptr<Decisions> own)
      : source_(source), own_(std::move(own)) {}
  DirectiveSource* const source_;
  const std::unique_ptr<Decisions> own_;
};

}  // namespace blockstep
