#include "launcher/coordinator/decisions.h"

#include "core/base/status.h"
#include "launcher/config/step_proto.h"

namespace blockstep {
namespace {

// Ranks run at most 1 + lag steps behind the reports; this many are kept for one that asks again.
constexpr int64_t kPassedSteps = 64;

constexpr std::string_view kWithoutLog =
    "; with a new folder for the coordinator, `train --resume auto` continues from the last "
    "checkpoint";

}  // namespace

absl::StatusOr<std::unique_ptr<Decisions>> Decisions::Create(DecisionsOptions options) {
  std::unique_ptr<Decisions> made(new Decisions(std::move(options)));
  const DecisionsOptions& o = made->options_;
  LogContents contents;
  if (!o.log_path.empty()) {
    ASSIGN_OR_RETURN(made->log_, CoordinatorLog::Open(o.log_path, &contents));
  }
  if (contents.fresh) {
    proto::LogHeader& header = contents.header;
    header.set_run_id(o.run_id);
    header.set_build(o.build);
    header.set_config_hash(o.config_hash);
    header.set_view(1);
  }
  const auto same = [&](std::string_view what, const std::string& found,
                        const std::string& wanted) -> absl::Status {
    if (found == wanted) return absl::OkStatus();
    return FailedPrecondition("coordinator log ", o.log_path, ": ", what, ": expected ", wanted,
                              ", got ", found, kWithoutLog);
  };
  RETURN_IF_ERROR(same("build", contents.header.build(), o.build));
  RETURN_IF_ERROR(same("config_hash", contents.header.config_hash(), o.config_hash));
  if (!o.run_id.empty() && !contents.header.run_id().empty()) {
    RETURN_IF_ERROR(same("run_id", contents.header.run_id(), o.run_id));
  }
  if (contents.header.run_id().empty()) contents.header.set_run_id(o.run_id);
  contents.header.set_term(contents.header.term() + 1);
  ASSIGN_OR_RETURN(Loaded loaded, made->Load(contents.header));
  made->Enter(contents.header, std::move(loaded));
  for (const proto::StepReport& wire : contents.reports) {
    ASSIGN_OR_RETURN(const StepReport report, FromProto(wire));
    if (report.step != made->next_step_) {
      return DataLoss("coordinator log ", o.log_path, ": expected the report of step ",
                      made->next_step_, ", got ", report.step);
    }
    made->Apply(report);
  }
  RETURN_IF_ERROR(made->Write(made->Now()));
  return made;
}

absl::StatusOr<Decisions::Loaded> Decisions::Load(const proto::LogHeader& header) const {
  Loaded loaded;
  ASSIGN_OR_RETURN(loaded.policy, options_.make_policy());
  if (header.next_step() == 0 && header.policy_state().empty()) {
    loaded.directives = loaded.policy->Start();
    return loaded;
  }
  RETURN_IF_ERROR(Annotate(loaded.policy->LoadState(header.policy_state()), "policy state"));
  for (const proto::Directive& wire : header.directives()) {
    ASSIGN_OR_RETURN(Directive directive, FromProto(wire));
    loaded.directives.push_back(std::move(directive));
  }
  loaded.directives = loaded.policy->Continue(header.next_step(), std::move(loaded.directives));
  return loaded;
}

void Decisions::Enter(const proto::LogHeader& header, Loaded loaded) {
  policy_ = std::move(loaded.policy);
  directives_.assign(loaded.directives.begin(), loaded.directives.end());
  first_sequence_ = 0;
  header_ = header;
  next_step_ = header.next_step();
}

proto::LogHeader Decisions::Now() const {
  proto::LogHeader header = header_;
  header.set_next_step(next_step_);
  header.set_policy_state(policy_->SaveState());
  header.clear_directives();
  for (const Directive& directive : directives_) {
    if (directive.through >= next_step_) *header.add_directives() = ToProto(directive);
  }
  return header;
}

absl::Status Decisions::Write(const proto::LogHeader& header) {
  return log_ == nullptr ? absl::OkStatus() : log_->Rewrite(header);
}

absl::Status Decisions::Begin(const std::string& run_id, int64_t incarnation) {
  proto::LogHeader header = Now();
  header.set_run_id(run_id);
  header.set_incarnation(incarnation);
  RETURN_IF_ERROR(Write(header));
  header_ = std::move(header);
  return absl::OkStatus();
}

absl::Status Decisions::SetOrders(const proto::Orders& orders) {
  proto::LogHeader header = Now();
  *header.mutable_orders() = orders;
  RETURN_IF_ERROR(Write(header));
  header_ = std::move(header);
  return absl::OkStatus();
}

absl::Status Decisions::Restore(int64_t incarnation, int64_t step, const PolicySnapshot& snapshot) {
  proto::LogHeader header = header_;
  header.set_incarnation(incarnation);
  header.set_term(header.term() + 1);
  header.set_view(header.view() + 1);
  header.set_next_step(step);
  header.set_policy_state(snapshot.policy_state);
  header.clear_orders();
  header.clear_directives();
  for (const Directive& directive : snapshot.directives) {
    *header.add_directives() = ToProto(directive);
  }
  ASSIGN_OR_RETURN(Loaded loaded, Load(header));
  RETURN_IF_ERROR(Write(header));
  Enter(header, std::move(loaded));
  return absl::OkStatus();
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
    return FailedPrecondition("report: expected step ", next_step_, ", got ", report.step,
                              ": the steps between are missing from the coordinator's log");
  }
  if (log_ != nullptr) {
    if (!log_->broken().ok()) RETURN_IF_ERROR(Write(Now()));
    RETURN_IF_ERROR(log_->Append(ToProto(report)));
  }
  Apply(report);
  // A failure here loses nothing: the reports themselves are in the log.
  if (log_ != nullptr && log_->appended() >= options_.reports_per_header) {
    Write(Now()).IgnoreError();
  }
  return absl::OkStatus();
}

absl::StatusOr<PolicySnapshot> Decisions::Snapshot(int64_t step) const {
  if (step > next_step_) {
    return Unavailable("policy snapshot: expected reports of all steps below ", step,
                       ", got those below ", next_step_);
  }
  if (step < next_step_) {
    return FailedPrecondition("policy snapshot: expected reports of steps below ", step,
                              " only, got those below ", next_step_);
  }
  PolicySnapshot snapshot{.policy_state = policy_->SaveState()};
  for (const Directive& directive : directives_) {
    if (directive.through >= step) snapshot.directives.push_back(directive);
  }
  return snapshot;
}

}  // namespace blockstep
