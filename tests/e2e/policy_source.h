// A policy shared by rank threads of one process: the leader's report moves it, everyone waits on
// it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>

#include "core/base/status.h"
#include "optim/policy/policy.h"

namespace blockstep::testing {

class SharedPolicy {
 public:
  explicit SharedPolicy(std::unique_ptr<Policy> policy) : policy_(std::move(policy)) {
    for (Directive& d : policy_->Start()) directives_.push_back(std::move(d));
  }
  // Blocks up to a minute.
  absl::StatusOr<Directive> Await(int64_t step) {
    std::unique_lock lock(mutex_);
    const Directive* found = nullptr;
    if (!arrived_.wait_for(lock, std::chrono::minutes(1),
                           [&] { return (found = Find(step)) != nullptr; })) {
      return Unavailable("no directive for step ", step);
    }
    return *found;
  }
  // Null: none yet. The deque never moves its elements.
  const Directive* TryAwait(int64_t step) {
    std::lock_guard lock(mutex_);
    return Find(step);
  }
  void Report(const StepReport& report) {
    std::lock_guard lock(mutex_);
    for (Directive& d : policy_->OnReport(report)) directives_.push_back(std::move(d));
    arrived_.notify_all();
  }

 private:
  const Directive* Find(int64_t step) const {
    for (auto d = directives_.rbegin(); d != directives_.rend(); ++d) {
      if (d->from <= step && step <= d->through) return &*d;
    }
    return nullptr;
  }
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::unique_ptr<Policy> policy_;
  std::deque<Directive> directives_;
};

class PolicySource : public DirectiveSource {
 public:
  explicit PolicySource(SharedPolicy* shared) : shared_(shared) {}
  absl::StatusOr<Directive> Await(int64_t step) override { return shared_->Await(step); }
  const Directive* TryAwait(int64_t step) override { return shared_->TryAwait(step); }
  absl::Status Report(const StepReport& report) override {
    shared_->Report(report);
    return absl::OkStatus();
  }

 private:
  SharedPolicy* shared_;
};

}  // namespace blockstep::testing
