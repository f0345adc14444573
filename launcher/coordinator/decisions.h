// The policy as one run drives it: reports in, directives out, durable if a log is given. Not
// thread-safe; RunState locks.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "launcher/coordinator/coordinator_log.h"
#include "optim/policy/policy.h"

namespace blockstep {

using PolicyFactory = std::function<absl::StatusOr<std::unique_ptr<Policy>>()>;

struct DecisionsOptions {
  PolicyFactory make_policy;
  std::string build;
  std::string config_hash;
  std::string run_id;                 // empty: the first rank to join names it
  std::string log_path;               // empty: nothing survives this process
  int64_t reports_per_header = 1000;  // the log is shortened after so many
};

class Decisions {
 public:
  // FAILED_PRECONDITION: the log is of another run, configuration or build. Every start is a new
  // term.
  static absl::StatusOr<std::unique_ptr<Decisions>> Create(DecisionsOptions options);

  // The first workers of a run at step 0; names a run that has no name yet.
  absl::Status Begin(const std::string& run_id, int64_t incarnation);
  // Other workers: goes to their checkpoint, or with an empty snapshot at step 0 to the start.
  // Another term and membership.
  absl::Status Restore(int64_t incarnation, int64_t step, const PolicySnapshot& snapshot);
  // Durable before the policy sees it. A report of a step below next_step() changes nothing. A log
  // that broke (CoordinatorLog) is written anew first, as soon as the disk lets it.
  absl::Status Accept(const StepReport& report);
  absl::Status SetOrders(const proto::Orders& orders);

  // RESOURCE_EXHAUSTED while the log is broken: no report can be taken.
  absl::Status Durable() const { return log_ == nullptr ? absl::OkStatus() : log_->broken(); }

  // UNAVAILABLE: the report of step - 1 is on its way.
  absl::StatusOr<PolicySnapshot> Snapshot(int64_t step) const;

  const std::string& run_id() const { return header_.run_id(); }
  int64_t term() const { return header_.term(); }
  int64_t incarnation() const { return header_.incarnation(); }
  int64_t view() const { return header_.view(); }
  const proto::Orders& orders() const { return header_.orders(); }
  int64_t next_step() const { return next_step_; }  // the report waited for
  // Of this term, in order of issue, without those that every rank has passed; the first one is
  // number first_sequence().
  const std::deque<Directive>& directives() const { return directives_; }
  int64_t first_sequence() const { return first_sequence_; }
  std::string policy() const { return std::string(policy_->name()); }

 private:
  explicit Decisions(DecisionsOptions options) : options_(std::move(options)) {}
  struct Loaded {
    std::unique_ptr<Policy> policy;
    std::vector<Directive> directives;
  };
  absl::StatusOr<Loaded> Load(const proto::LogHeader& header) const;
  void Enter(const proto::LogHeader& header, Loaded loaded);
  proto::LogHeader Now() const;
  // To the log, if there is one. What is in memory follows it, never the other way round: nobody is
  // told what a crash could take back.
  absl::Status Write(const proto::LogHeader& header);
  void Apply(const StepReport& report);

  const DecisionsOptions options_;
  std::unique_ptr<CoordinatorLog> log_;
  std::unique_ptr<Policy> policy_;
  proto::LogHeader header_;  // identity; its policy fields are filled by Now
  std::deque<Directive> directives_;
  int64_t first_sequence_ = 0;
  int64_t next_step_ = 0;
};

}  // namespace blockstep
