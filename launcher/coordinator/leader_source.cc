#include "launcher/coordinator/leader_source.h"

#include "core/base/status.h"

namespace blockstep {

absl::StatusOr<std::unique_ptr<LeaderSource>> LeaderSource::Create(DirectiveSource* source,
                                                                   PolicyFactory make_policy,
                                                                   int64_t resume_step,
                                                                   const PolicySnapshot* resume) {
  ASSIGN_OR_RETURN(std::unique_ptr<Decisions> own,
                   Decisions::Create({.make_policy = std::move(make_policy)}));
  if (resume != nullptr) RETURN_IF_ERROR(own->Restore(1, resume_step, *resume));
  return std::unique_ptr<LeaderSource>(new LeaderSource(source, std::move(own)));
}

absl::StatusOr<Directive> LeaderSource::Await(int64_t step) {
  ASSIGN_OR_RETURN(Directive directive, source_->Await(step));
  for (const Directive& own : own_->directives()) {
    if (step < own.from || step > own.through) continue;
    if (own.Hash() == directive.Hash()) return directive;
    return FailedPrecondition("directive of step ", step, ": expected ", own.label,
                              ", as rank 0's policy decides from the same reports, got ",
                              directive.label,
                              " from the coordinator: their policies compute different results");
  }
  return Internal("directive of step ", step, ": expected none, as rank 0's policy decides, got ",
                  directive.label);
}

const Directive* LeaderSource::TryAwait(int64_t step) {
  const Directive* directive = source_->TryAwait(step);
  if (directive == nullptr) return nullptr;
  for (const Directive& own : own_->directives()) {
    if (step < own.from || step > own.through) continue;
    return own.Hash() == directive->Hash() ? directive : nullptr;
  }
  return nullptr;
}

absl::Status LeaderSource::Report(const StepReport& report) {
  RETURN_IF_ERROR(own_->Accept(report));
  return source_->Report(report);
}

}  // namespace blockstep
