// Directives from a policy in the same process, without gRPC, for tests whose ranks are threads.
// The rules are those of the coordinator: one report a step, in order, from rank 0.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "optim/policy/policy.h"

namespace blockstep {

struct InProcessOptions {
  std::chrono::milliseconds grace{60'000};  // longest wait of Await
  // A continued run: the checkpoint's state and step; null: a fresh one.
  const PolicySnapshot* resume = nullptr;
  int64_t resume_step = 0;
};

class InProcessCoordinator {
 public:
  static absl::StatusOr<std::unique_ptr<InProcessCoordinator>> Create(
      std::unique_ptr<Policy> policy, InProcessOptions options = {});

  // One for each rank-thread; the coordinator outlives them all.
  std::unique_ptr<DirectiveSource> Source(int rank);

  // FAILED_PRECONDITION unless the reports of exactly the steps below `step` have come.
  absl::StatusOr<PolicySnapshot> Snapshot(int64_t step) const;

  // Every directive issued so far, for comparing block sequences.
  std::vector<Directive> Issued() const;

 private:
  class RankSource;
  InProcessCoordinator(std::unique_ptr<Policy> policy, InProcessOptions options)
      : options_(options), policy_(std::move(policy)), next_step_(options.resume_step) {}
  absl::StatusOr<Directive> Await(int64_t step);
  const Directive* Find(int64_t step) const;  // mutex_ is held; stays valid
  absl::Status Report(int rank, const StepReport& report);

  const InProcessOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable issued_;
  std::unique_ptr<Policy> policy_;
  std::deque<Directive> directives_;  // grows at the end only, so elements stay where they are
  int64_t next_step_ = 0;             // the report waited for
};

}  // namespace blockstep
