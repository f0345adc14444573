#include "tests/launcher/coordinator/in_process_source.h"

#include <algorithm>

#include "core/base/status.h"

namespace blockstep {

class InProcessCoordinator::RankSource : public DirectiveSource {
 public:
  RankSource(InProcessCoordinator* coordinator, int rank)
      : coordinator_(coordinator), rank_(rank) {}
  absl::StatusOr<Directive> Await(int64_t step) override { return coordinator_->Await(step); }
  const Directive* TryAwait(int64_t step) override {
    std::lock_guard lock(coordinator_->mutex_);
    return coordinator_->Find(step);
  }
  absl::Status Report(const StepReport& report) override {
    return coordinator_->Report(rank_, report);
  }

 private:
  InProcessCoordinator* coordinator_;
  int rank_;
};

absl::StatusOr<std::unique_ptr<InProcessCoordinator>> InProcessCoordinator::Create(
    std::unique_ptr<Policy> policy, InProcessOptions options) {
  const PolicySnapshot* resume = options.resume;
  options.resume = nullptr;  // need not outlive this call
  std::unique_ptr<InProcessCoordinator> made(new InProcessCoordinator(std::move(policy), options));
  std::vector<Directive> first;
  if (resume != nullptr) {
    RETURN_IF_ERROR(made->policy_->LoadState(resume->policy_state));
    first = made->policy_->Continue(made->next_step_, resume->directives);
  } else {
    first = made->policy_->Start();
  }
  made->directives_.assign(first.begin(), first.end());
  return made;
}

std::unique_ptr<DirectiveSource> InProcessCoordinator::Source(int rank) {
  return std::make_unique<RankSource>(this, rank);
}

const Directive* InProcessCoordinator::Find(int64_t step) const {
  // Ascending by step and asked near the end.
  for (auto it = directives_.rbegin(); it != directives_.rend(); ++it) {
    if (it->from <= step) return step <= it->through ? &*it : nullptr;
  }
  return nullptr;
}

absl::StatusOr<Directive> InProcessCoordinator::Await(int64_t step) {
  std::unique_lock lock(mutex_);
  const Directive* found = nullptr;
  const auto arrived = [&] { return (found = Find(step)) != nullptr; };
  if (!issued_.wait_for(lock, options_.grace, arrived)) {
    return Unavailable("coordinator in process: no directive covers step ", step, " after ",
                       options_.grace.count(), " ms; it waits for the report of step ", next_step_);
  }
  return *found;
}

absl::Status InProcessCoordinator::Report(int rank, const StepReport& report) {
  if (rank != 0) return absl::OkStatus();
  std::lock_guard lock(mutex_);
  if (report.step < next_step_) return absl::OkStatus();  // again
  if (report.step > next_step_) {
    return FailedPrecondition("report: expected step ", next_step_, ", got ", report.step);
  }
  for (Directive& directive : policy_->OnReport(report)) {
    directives_.push_back(std::move(directive));
  }
  ++next_step_;
  issued_.notify_all();
  return absl::OkStatus();
}

absl::StatusOr<PolicySnapshot> InProcessCoordinator::Snapshot(int64_t step) const {
  std::lock_guard lock(mutex_);
  if (step != next_step_) {
    return FailedPrecondition("policy snapshot: expected reports of all steps below ", step,
                              ", got those below ", next_step_);
  }
  PolicySnapshot snapshot{.policy_state = policy_->SaveState()};
  std::copy_if(directives_.begin(), directives_.end(), std::back_inserter(snapshot.directives),
               [&](const Directive& d) { return d.through >= step; });
  return snapshot;
}

std::vector<Directive> InProcessCoordinator::Issued() const {
  std::lock_guard lock(mutex_);
  return {directives_.begin(), directives_.end()};
}

}  // namespace blockstep
