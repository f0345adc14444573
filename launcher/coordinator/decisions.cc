#include "launcher/coordinator/decisions.h"

#include "core/base/status.h"
#include "launcher/config/step_proto.h"

namespace blockstep {
namespace {

// Ranks run at most 1 + lag steps behind the reports; this many are kept for one that asks again.
constexpr int64_t kPassedSteps = 64;

}  // namespace

absl::StatusOr<std::unique_ptr<Decisions>> Decisions::Create(DecisionsOptions options) {
  std::unique_ptr<Decisions> made(new Decisions(std::move(options)));
  const DecisionsOptions& o = made->options_;
  LogContents contents;
  if (!o.log_path.empty()) {
    ASSIGN_OR_RETURN(made->log_, CoordinatorLog::Open(o.log_path, &contents));
  }
  if (contents.fresh) {
    proto::LogHead& head = contents.head;
    head.set_run_id(o.run_id);
    head.set_build(o.build);
    head.set_config_hash(o.config_hash);
    head.set_epoch(1);
  }
  const auto same = [&](std::string_view what, const std::string& found,
                        const std::string& wanted) -> absl::Status {
    if (found == wanted) return absl::OkStatus();
    return FailedPrecondition("coordinator log ", o.log_path, ": ", what, ": found ", found,
                              ", wanted ", wanted);
  };
  RETURN_IF_ERROR(same("build", contents.head.build(), o.build));
  RETURN_IF_ERROR(same("config_hash", contents.head.config_hash(), o.config_hash));
  if (!o.run_id.empty() && !contents.head.run_id().empty()) {
    RETURN_IF_ERROR(same("run_id", contents.head.run_id(), o.run_id));
  }
  if (contents.head.run_id().empty()) contents.head.set_run_id(o.run_id);
  contents.head.set_term(contents.head.term() + 1);
  RETURN_IF_ERROR(made->LoadHead(contents.head));
  for (const proto::StepReport& wire : contents.reports) {
    ASSIGN_OR_RETURN(const StepReport report, FromProto(wire));
    if (report.step != made->next_step_) {
      return DataLoss("coordinator log ", o.log_path, ": found the report of step ", report.step,
                      ", wanted ", made->next_step_);
    }
    made->Apply(report);
  }
  RETURN_IF_ERROR(made->WriteHead());
  return made;
}

absl::Status Decisions::LoadHead(const proto::LogHead& head) {
  ASSIGN_OR_RETURN(std::unique_ptr<Policy> policy, options_.make_policy());
  std::vector<Directive> directives;
  if (head.next_step() == 0 && head.policy_state().empty()) {
    directives = policy->Start();
  } else {
    RETURN_IF_ERROR(Annotate(policy->LoadState(head.policy_state()), "policy state"));
    for (const proto::Directive& wire : head.directives()) {
      ASSIGN_OR_RETURN(Directive directive, FromProto(wire));
      directives.push_back(std::move(directive));
    }
    directives = policy->Continue(head.next_step(), std::move(directives));
  }
  policy_ = std::move(policy);
  directives_.assign(directives.begin(), directives.end());
  first_sequence_ = 0;
  head_ = head;
  next_step_ = head.next_step();
  return absl::OkStatus();
}

absl::Status Decisions::WriteHead() {
  if (log_ == nullptr) return absl::OkStatus();
  head_.set_next_step(next_step_);
  head_.set_policy_state(policy_->SaveState());
  head_.clear_directives();
  for (const Directive& directive : directives_) {
    if (directive.through >= next_step_) *head_.add_directives() = ToProto(directive);
  }
  return log_->Rewrite(head_);
}

absl::Status Decisions::Begin(const std::string& run_id, int64_t incarnation) {
  head_.set_run_id(run_id);
  head_.set_incarnation(incarnation);
  return WriteHead();
}

absl::Status Decisions::SetOrders(const proto::Orders& orders) {
  *head_.mutable_orders() = orders;
  return WriteHead();
}

absl::Status Decisions::Restore(int64_t incarnation, int64_t step, const PolicySnapshot& snapshot) {
  proto::LogHead head = head_;
  head.set_incarnation(incarnation);
  head.set_term(head.term() + 1);
  head.set_epoch(head.epoch() + 1);
  head.set_next_step(step);
  head.set_policy_state(snapshot.policy_state);
  head.clear_orders();
  head.clear_directives();
  for (const Directive& directive : snapshot.directives) {
    *head.add_directives() = ToProto(directive);
  }
  RETURN_IF_ERROR(LoadHead(head));
  return WriteHead();
}

void Decisions::Apply(const StepReport& report) {
  for (Directive& directive : policy_->OnReport(report)) {
    directives_.push_back(std::move(directive));
  }
  next_step_ = report.step + 1;
  while (!directives_.empty() && directives_.front().through < next_step_ - kPassedSteps) {
    directives_.pop_front();
    ++first_sequence_;
  }
}

absl::Status Decisions::Accept(const StepReport& report) {
  if (report.step < next_step_) return absl::OkStatus();
  if (report.step > next_step_) {
    return FailedPrecondition("report: found step ", report.step, ", wanted ", next_step_,
                              ": the coordinator's log lost what lies between");
  }
  if (log_ != nullptr) RETURN_IF_ERROR(log_->Append(ToProto(report)));
  Apply(report);
  // A failure here loses nothing: the reports themselves are in the log.
  if (log_ != nullptr && log_->appended() >= options_.reports_per_head) (void)WriteHead();
  return absl::OkStatus();
}

absl::StatusOr<PolicySnapshot> Decisions::Snapshot(int64_t step) const {
  if (step > next_step_) {
    return Unavailable("policy snapshot: found reports of the steps below ", next_step_,
                       ", wanted below ", step);
  }
  if (step < next_step_) {
    return FailedPrecondition("policy snapshot: found reports of the steps below ", next_step_,
                              ", wanted only those below ", step);
  }
  PolicySnapshot snapshot{.policy_state = policy_->SaveState()};
  for (const Directive& directive : directives_) {
    if (directive.through >= step) snapshot.directives.push_back(directive);
  }
  return snapshot;
}

}  // namespace blockstep
